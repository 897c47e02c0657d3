import socket

import pytest

from explorer.supervisor import ports


def test_a_port_that_is_listened_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ports.CannotListen, match="already in use"):
        ports.listen("127.0.0.1", taken.getsockname()[1])


def test_a_port_that_could_be_shared_is_refused_too() -> None:
    """Another's, or both would answer in turn."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ports.CannotListen, match="already in use"):
            ports.listen("127.0.0.1", taken.getsockname()[1])


def test_a_second_explorer_is_refused() -> None:
    with ports.listen("127.0.0.1", 0) as first, pytest.raises(ports.CannotListen, match="already in use"):
        ports.listen("127.0.0.1", first.getsockname()[1])


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ports.CannotListen, match="PORT=… chooses another"):
        ports.listen("192.0.2.1", 8000)
