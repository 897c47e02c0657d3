"""Items whose answers are known, to begin with: texts of our own, which need no lm's tokens. They go with the published
rubric, whose criteria their answers are for."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.studies.evidence import Evidence, Example

FILE = Path(__file__).with_name("practice.json")
WORD = re.compile(r"\{(?P<word>[^:}]+):(?P<value>[0-9.]+)\}|(?P<plain>\S+)")
CLINGING = set(",.:;")  # no space before these


@dataclass(frozen=True, slots=True)
class Practice:
    interval: int
    evidence: Evidence
    known: dict[str, Any]  # as Item.known


def practice(keys: Iterable[str]) -> list[Practice]:
    """None where a rubric has other criteria."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    wanted = set(keys)
    return [_practice(row) for row in rows if set(row["points"]) == wanted]


def _practice(row: dict[str, Any]) -> Practice:
    texts: dict[str, int] = {}
    intervals = [[_example(line, texts) for line in lines] for lines in row["intervals"]]
    raised = [(texts.setdefault(token, len(texts)), value) for token, value in row["raised"]]
    known = {name: row[name] for name in ("points", "hypothesis", "why")}
    return Practice(row["interval"], Evidence(intervals, raised, list(texts)), known)


def _example(line: str, texts: dict[str, int]) -> Example:
    """`texts` counts the tokens met so far."""
    ids: list[int] = []
    acts: list[tuple[int, float]] = []
    for match in WORD.finditer(line):
        word = match["word"] or match["plain"]
        if match["value"]:
            acts.append((len(ids), float(match["value"])))
        ids.append(texts.setdefault(word if not ids or word in CLINGING else f" {word}", len(texts)))
    return Example(ids, max(acts, key=lambda act: act[1])[0], acts, cut=(True, True))
