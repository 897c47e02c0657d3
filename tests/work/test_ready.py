"""What a worker keeps loaded: as much as its budget allows, the last ones used."""

import threading
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

from explorer.work.ready import Ready
from sae_core import BadInput
from sae_core.devices import n_bytes

MIB = 1 << 20


def of_bytes(n: int) -> nn.Module:
    return nn.ParameterList([nn.Parameter(torch.empty(n, dtype=torch.int8), requires_grad=False)])


class Loads:
    """Texts as if they were lms, each letter a byte; what was loaded stands in `loaded`."""

    def __init__(self, budget: int) -> None:
        self.ready = Ready(budget)
        self.loaded: list[str] = []

    def get(self, what: str, expected: int = 0) -> str:
        def load() -> str:
            self.loaded.append(what)
            return what.upper()

        return self.ready.get(what, load, len, expected)

    def loads(self, *wanted: str) -> list[str]:
        """Which of these were not there."""
        self.loaded.clear()
        assert [self.get(each) for each in wanted] == [each.upper() for each in wanted]
        return list(self.loaded)


def test_what_was_not_asked_for_longest_makes_room() -> None:
    loads = Loads(4)
    assert loads.loads("aa", "b", "aa", "c") == ["aa", "b", "c"]
    assert loads.loads("d") == ["d"], "one too many: of these b was not asked for longest"
    assert loads.loads("c", "d", "aa") == []
    assert loads.loads("b") == ["b"], "c went for it, and nothing else"
    assert loads.loads("d", "aa", "b") == []


def test_many_small_ones_are_kept_and_one_big_one_takes_several_places() -> None:
    loads = Loads(8)
    assert loads.loads(*"abcdefgh") == list("abcdefgh")
    assert loads.loads(*"abcdefgh") == []
    assert loads.loads("xxxxx", "f", "g", "h") == ["xxxxx"]
    assert loads.loads("a") == ["a"]


def test_one_beyond_the_budget_is_kept_alone_until_the_next() -> None:
    loads = Loads(3)
    assert loads.loads("a", "xxxx", "xxxx") == ["a", "xxxx"]
    assert loads.loads("a", "xxxx") == ["a", "xxxx"]


def test_room_is_made_before_by_what_is_expected_and_after_by_what_came() -> None:
    ready = Ready(8 * MIB)
    first = ready.get("first", lambda: of_bytes(3 * MIB), n_bytes)
    second = ready.get("second", lambda: of_bytes(3 * MIB), n_bytes)
    gone = weakref.ref(first), weakref.ref(second)
    del first, second

    def load() -> nn.Module:
        assert (gone[0](), gone[1]() is None) == (None, False), "of the two one is enough"
        return of_bytes(6 * MIB)

    ready.get("third", load, n_bytes, expected=4 * MIB)
    assert gone[1]() is None, "it was more than expected"


def test_what_somebody_works_with_lives_on() -> None:
    ready = Ready(3)
    mine = ready.get("mine", lambda: of_bytes(2), n_bytes)
    ready.get("next", lambda: of_bytes(2), n_bytes)
    assert n_bytes(mine) == 2
    there = weakref.ref(mine)
    del mine
    assert there() is None


def test_one_loads_and_whoever_wants_the_same_waits() -> None:
    loads = Loads(4)
    loading, go_on = threading.Event(), threading.Event()
    times: list[str] = []

    def slow() -> str:
        loading.set()
        assert go_on.wait(10)
        times.append("slow")
        return "slow"

    answers: list[str] = []

    def want() -> None:
        answers.append(loads.ready.get("slow", slow, len, expected=4))

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert loading.wait(10)
    # Nobody waits for what others want; and however much that is, what is still to come does not make room.
    assert loads.loads("other", "another") == ["other", "another"]
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (answers, times) == (["slow"] * 3, ["slow"])
    assert loads.loads("another") == ["another"], "once it had come, the others made room"


def test_many_threads_at_once_load_each_once_and_get_their_own() -> None:
    loads = Loads(8)
    gate = threading.Barrier(16)
    answers: list[tuple[str, str]] = []

    def want(what: str) -> None:
        gate.wait(10)
        answers.extend((what, loads.get(what)) for _ in range(50))

    threads = [threading.Thread(target=want, args=("abcdefgh"[number % 8],)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(answers) == 16 * 50
    assert {found for what, found in answers if what.upper() != found} == set()
    assert sorted(loads.loaded) == list("abcdefgh")


def test_all_are_let_go() -> None:
    loads = Loads(4)
    loads.loads("a", "b")
    loads.ready.clear()
    assert loads.loads("a", "b") == ["a", "b"]


def fail() -> str:
    raise BadInput("not there")


def no_memory() -> str:
    return str(torch.empty(1 << 50))


@pytest.mark.parametrize(("load", "error"), [(fail, BadInput), (no_memory, RuntimeError)])
def test_what_failed_to_load_is_tried_again_and_takes_no_room(load: Callable[[], str], error: type[Exception]) -> None:
    loads = Loads(4)
    for _ in range(2):
        with pytest.raises(error):
            loads.ready.get("xxxx", load, len, expected=4)
    assert loads.loads("a", "b", "c", "d") == list("abcd")
    assert loads.loads("a", "b", "c", "d") == []
    assert loads.ready.get("xxxx", lambda: "now", len) == "now"


def test_what_is_kept_makes_room_for_a_load_that_memory_does_not_do_for() -> None:
    """As on a device that has less than the budget."""
    ready = Ready(64)
    there = weakref.ref(ready.get("there", lambda: of_bytes(2), n_bytes))

    def load() -> nn.Module:
        return of_bytes(1 << 50 if there() is not None else 2)

    assert n_bytes(ready.get("next", load, n_bytes)) == 2
