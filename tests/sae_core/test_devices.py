import mmap
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sae_core import devices
from sae_core.errors import BadInput


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAE_DEVICE", raising=False)


@pytest.mark.parametrize("name", [None, "auto"])
def test_of_itself_it_is_cuda_where_there_is_one(name: str | None) -> None:
    assert devices.pick(name).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_environment_says_which_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAE_DEVICE", "cpu")
    assert devices.pick() == devices.pick("auto") == torch.device("cpu")
    monkeypatch.setenv("SAE_DEVICE", "tpu")
    assert devices.pick("cpu") == torch.device("cpu")
    with pytest.raises(BadInput, match="SAE_DEVICE: there is no device 'tpu' here; there is cpu"):
        devices.pick()


@pytest.mark.parametrize("value", ["", "auto"])
def test_the_environment_may_leave_it_open(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAE_DEVICE", value)
    assert devices.pick().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:0:0", "meta", ""])
def test_a_device_that_is_not_here_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadInput, match=f"^there is no device '{name}' here; there is cpu"):
        devices.pick(name)


def test_every_device_that_is_listed_can_be_picked() -> None:
    assert [str(devices.pick(each.name)) for each in devices.devices()] == [each.name for each in devices.devices()]


def test_precisions_by_name_and_by_type() -> None:
    assert devices.precision(None) == torch.float32
    assert devices.precision("bfloat16") == devices.precision(torch.bfloat16) == torch.bfloat16
    for wrong in ("int8", "half-ish", torch.int64):
        with pytest.raises(BadInput, match="expected one of float64, float32, bfloat16, float16"):
            devices.precision(wrong)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda: torch.empty(1 << 60), True),
        (lambda: np.empty(1 << 60, np.uint8), True),
        (lambda: mmap.mmap(-1, 1 << 62), True),
        (lambda: torch.empty(2) @ torch.empty(3), False),
        (lambda: Path("no/such/file").read_bytes(), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(ask: Callable[[], object], expected: bool) -> None:
    with pytest.raises((RuntimeError, MemoryError, OSError)) as caught:
        ask()
    assert devices.out_of_memory(caught.value) == expected


def test_want_of_memory_for_a_file(tmp_path: Path) -> None:
    """Which torch maps: it is larger than all that this process may have."""
    file, tib = tmp_path / "sparse", 1 << 40
    with file.open("wb") as opened:
        opened.truncate(2 * tib)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (tib, before[1]))
    try:
        with pytest.raises(RuntimeError) as caught:
            torch.from_file(str(file), size=2 * tib, dtype=torch.uint8)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert devices.out_of_memory(caught.value)


def test_bytes_are_of_parameters_and_buffers_and_shared_ones_count_once() -> None:
    linear, tied = nn.Linear(3, 5), nn.Linear(3, 5)
    tied.weight = linear.weight
    both = nn.ModuleList([linear, tied])
    both.register_buffer("mask", torch.zeros(7, dtype=torch.bool))
    assert devices.n_bytes(both) == 4 * (3 * 5 + 5 + 5) + 7
