"""What is told of a steering before anything is queued: at the field that is wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from explorer import steering
from explorer.models import Activity, Sae
from explorer.models.access import Role
from explorer.steering import Asked, Method, Sampling, Text, Unit, Where, Wrong

SAE = Sae(slug="small", name="Small", n_latents=37, fingerprint="f" * 64)
FIRING, SILENT = Activity(index=5, p99=1.5, maximum=4.0), Activity(index=3, p99=0.0, maximum=0.0)


def change(index: int = 5, method: Method = Method.ADD, strength: float = 2.0, **options: Any) -> steering.Change:
    settings: dict[str, Any] = {"unit": Unit.P99, "where": Where.EVERYWHERE, "activity": FIRING} | options
    return steering.change(1, SAE, index, method, strength, **settings)


def asked(**options: Any) -> Asked:
    settings: dict[str, Any] = {
        "lm": "0" * 64, "prompt": "a", "chat": False, "changes": (change(),), "texts": (Text(0, 0), Text(1, 0)),
        "sampling": Sampling(), "new_tokens": 10,
    }  # fmt: skip
    return Asked(**settings | options)


def check(what: Asked, role: Role = Role.VISITOR) -> None:
    steering.check(what, role, most_tokens=20, most_texts=3)


def test_units_are_of_the_feature() -> None:
    assert change().value == 3.0
    assert change(unit=Unit.MAXIMUM).value == 8.0
    assert change(unit=Unit.RAW).value == 2.0
    assert change(method=Method.SCALE, strength=0.5).value == 0.5
    assert change(unit=Unit.RAW, activity=None).value == 2.0


def test_what_is_asked_can_be_kept() -> None:
    what = asked(changes=(change(), change(6, Method.SCALE, where=Where.PROMPT)), texts=(Text(1, 5, control=9),))
    assert Asked.from_json(what.to_json()) == what
    assert what.cost == 10


WRONG: list[tuple[tuple[str | int, ...], str, Callable[[], object]]] = [
    (("changes", 1, "index"), "Small has features 0 to 36.", lambda: change(37)),
    (("changes", 1, "strength"), "The strength lies between -50 and 50.", lambda: change(strength=50.5)),
    (("changes", 1, "strength"), "between -10,000 and 10,000.", lambda: change(strength=-1e5, unit=Unit.RAW)),
    (("changes", 1, "strength"), "between -50 and 50.", lambda: change(strength=float("nan"))),
    (("changes", 1, "strength"), "between -10,000", lambda: change(method=Method.SCALE, strength=float("inf"))),
    (("changes", 1, "unit"), "has no 99th percentile. Give a raw strength.", lambda: change(3, activity=SILENT)),
    (("changes", 1, "unit"), "has no maximum.", lambda: change(unit=Unit.MAXIMUM, activity=None)),
    (("prompt",), "Write something", lambda: check(asked(prompt=" \n"))),
    (("prompt",), "At most 4,000 characters; this has 4,001.", lambda: check(asked(prompt="x" * 4_001))),
    (("texts",), "Ask for one text at least.", lambda: check(asked(texts=()))),
    (("texts",), "At most 3 texts at a time; these are 4.", lambda: check(asked(texts=(Text(1, 0),) * 4))),
    (("new_tokens",), "From 1 to 20 new tokens.", lambda: check(asked(new_tokens=21))),
    (("new_tokens",), "From 1 to 20 new tokens.", lambda: check(asked(new_tokens=0))),
    (("new_tokens",), "From 1 to 80 new tokens.", lambda: check(asked(new_tokens=81), Role.RESEARCHER)),
    (
        ("changes", 1, "index"),
        "Both add of feature 5 and clamp of feature 5 say what becomes of the same feature of small.",
        lambda: check(asked(changes=(change(), change(method=Method.CLAMP, where=Where.PROMPT)))),
    ),
    (
        ("changes", 2, "index"),
        "Both keep of feature 5 and scale of feature 7",
        lambda: check(asked(changes=(change(5, Method.KEEP, 0), change(6, Method.KEEP, 0), change(7, Method.SCALE)))),
    ),
    (
        ("changes", 1, "index"),
        "Both project of feature 5 and ablate of feature 5",
        lambda: check(asked(changes=(change(5, Method.PROJECT, 0), change(5, Method.ABLATE, 0)))),
    ),
]


@pytest.mark.parametrize(("where", "says", "ask"), WRONG, ids=[says for _, says, _ in WRONG])
def test_what_is_wrong_is_told_where_it_is(where: tuple[str | int, ...], says: str, ask: Callable[[], object]) -> None:
    with pytest.raises(Wrong) as wrong:
        ask()
    assert wrong.value.where == where
    assert says in wrong.value.message


def test_what_does_not_contradict() -> None:
    prompt, after = change(where=Where.PROMPT), change(method=Method.CLAMP, where=Where.GENERATED)
    check(asked(changes=(prompt, after, replace(prompt, sae="another", method=Method.ABLATE))))
    check(asked(changes=(change(5, Method.KEEP, 0), change(6, Method.KEEP, 0), change(6, Method.SCALE))))
    check(asked(new_tokens=80), Role.RESEARCHER)
