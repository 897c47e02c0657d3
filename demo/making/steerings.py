"""The sweeps that the demo ships, written by a running demo: `EXPLORER_DATA=FOLDER python -m demo.making.steerings`.

Each with its feature at its best measured strength, so the demo must have come to its end.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import django

TO = Path(__file__).resolve().parent.parent / "steerings.json"
LOOK = 0.2  # seconds: another process writes, and this one has nothing else to do


@dataclass(frozen=True)
class Sweep:
    key: str
    title: str
    sae: str
    index: int
    prompt: str


SWEEPS = (
    Sweep("demo-versions", "Everything changed in some version", "deep-batchtopk-2048", 85, "Return a new list.\n\n"),
    Sweep("demo-self", "It keeps coming back to self", "one-layer-relu-2048", 882, "Return a new list.\n\n"),
    Sweep("demo-roles", "Every word wants a role", "one-layer-relu-2048", 783, "The function returns"),
)


def main() -> None:
    django.setup()
    from explorer.forms.steering import asked
    from explorer.queries import library
    from explorer.queries import steerings as queries
    from explorer.queries.steerings import Wanted
    from explorer.steering import Method, Unit, Where

    found = []
    for each in SWEEPS:
        sae = library.sae(each.sae)
        assert sae, f"{each.sae} is not there"
        strength = queries.of_feature(sae, each.index).strength
        assert strength, f"feature {each.index} of {each.sae} was not measured"
        wanted = Wanted(sae, each.index, Method.ADD, strength.times, Unit.P99, Where.EVERYWHERE)
        what = asked(sae, each.prompt, queries.changes([wanted]), "sweep")
        found.append(asdict(each) | {"asked": what.to_json(), "result": _result(what)})
    TO.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def _result(what: Any) -> dict[str, Any]:
    """By the demo's own worker."""
    from django.contrib.auth.models import User

    from explorer.actions import steerings
    from explorer.models import Steering

    made = steerings.start(what, by=User.objects.get(username="admin"), who="demo", watched=False)
    while True:
        row = Steering.objects.select_related("job").get(pk=made.pk)
        if row.result:
            result: dict[str, Any] = row.result
            return result
        assert row.job
        assert row.job.unfinished, row.job.error
        time.sleep(LOOK)


if __name__ == "__main__":
    main()
