"""What a worker keeps ready, where it works, and how it says what it cannot do."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from django.conf import settings

from explorer.work.attempt import Refused
from explorer.work.opening import Kept, refusing, scratch
from sae_core import BadInput


def counted(loads: list[str], what: str) -> Callable[[], str]:
    def load() -> str:
        loads.append(what)
        return what.upper()

    return load


def test_the_last_ones_are_kept() -> None:
    loads: list[str] = []
    kept: Kept[str] = Kept(2)
    for what in "abacab":
        assert kept.get(what, counted(loads, what)) == what.upper()
    assert loads == ["a", "b", "c", "b"], "the one that was not asked for longest made room"
    kept.forget()
    kept.get("a", counted(loads, "a"))
    assert loads[-1] == "a"


def test_one_loads_and_whoever_wants_the_same_waits() -> None:
    kept: Kept[str] = Kept(2)
    loads: list[str] = []
    loading, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        loading.set()
        assert go_on.wait(10)
        loads.append("slow")
        return "slow"

    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(kept.get("slow", slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert loading.wait(10)
    assert kept.get("other", lambda: "other") == "other", "nobody waits for what others want"
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (answers, loads) == (["slow"] * 3, ["slow"])


def test_what_failed_to_load_is_tried_again() -> None:
    kept: Kept[str] = Kept(2)

    def fail() -> str:
        raise BadInput("not there")

    with pytest.raises(BadInput, match="not there"):
        kept.get("a", fail)
    assert kept.get("a", lambda: "now") == "now"


def test_scratch_goes_with_the_work_and_that_of_the_dead_with_the_next() -> None:
    with scratch() as mine:
        (mine / "file").write_text("x")
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        host = socket.gethostname()
        left = settings.PLACES.scratch / f"{host}+{int(ended.stdout)}+left"
        elsewhere = settings.PLACES.scratch / f"{host}-2+{int(ended.stdout)}+at-work"
        for folder in (left, elsewhere):
            folder.mkdir()
            (folder / "part").write_text("x")
        with scratch() as other:
            assert (mine / "file").exists()
            assert other != mine
        assert not left.exists()
        assert elsewhere.exists(), "another machine's may be alive"
    assert not mine.exists()
    (elsewhere / "part").unlink()
    elsewhere.rmdir()


def test_a_want_of_memory_is_told_and_not_tried_again() -> None:
    with pytest.raises(Refused, match=r"There is not enough memory for this \(.*memory.*\)"), refusing():
        torch.empty(1 << 50)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), refusing():
        torch.empty(2, 3) @ torch.empty(2, 3)
    with pytest.raises(FileNotFoundError), refusing():
        os.stat("/nowhere/at/all")
