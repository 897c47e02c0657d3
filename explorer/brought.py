"""Files of rows that somebody brings: CSV whose first line names the columns, or a JSON object a line. One is taken
whole, or every line that is wrong is named."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from explorer.sheets import uncell

MOST_TOLD = 20  # lines that are wrong


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    row: Mapping[str, Any] = field(default_factory=dict)  # of CSV all is text
    fault: str = ""


class Unreadable(Exception):
    """What is wrong, a line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def lines(content: bytes, name: str, wrong_head: Callable[[list[str]], str]) -> Iterator[Line]:
    """`wrong_head`: what is wrong with the names of a CSV's columns, in small letters; empty where nothing is."""
    text = _decoded(content)
    return _of_json(text) if _is_json(name, text) else _of_csv(text, wrong_head)


def take_all(found: Iterable[Line], take: Callable[[Line], None]) -> None:
    """`take` raises ValueError with what is wrong with a line."""
    faults: list[str] = []
    for line in found:
        try:
            if line.fault:
                raise ValueError(line.fault)
            take(line)
        except ValueError as why:
            faults.append(f"Line {line.number}: {why}")
        if len(faults) == MOST_TOLD:
            raise Unreadable([*faults, "There may be more."])
    if faults:
        raise Unreadable(faults)


def whole(value: object) -> int | None:
    """A whole number as CSV and JSON have it, however big; None: it is none."""
    digits = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4_000 else None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        line = content.count(b"\n", 0, why.start) + 1
        raise Unreadable([f"Line {line}: it is not UTF-8."]) from None


def _is_json(name: str, text: str) -> bool:
    if name.lower().endswith((".jsonl", ".json", ".ndjson")):
        return True
    return not name.lower().endswith(".csv") and text.lstrip().startswith("{")


def _of_json(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        yield Line(number, found) if isinstance(found, dict) else Line(number, fault="it is no JSON object.")


def _of_csv(text: str, wrong_head: Callable[[list[str]], str]) -> Iterator[Line]:
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        head = [each.strip().lower() for each in next(rows, [])]
        if wrong := wrong_head(head):
            raise Unreadable([f"Line 1: {wrong}"])
        for row in rows:
            if len(row) >= len(head):
                yield Line(rows.line_num, dict(zip(head, map(uncell, row), strict=False)))
            elif row:
                yield Line(rows.line_num, fault="it has fewer columns than the first line names.")
    except csv.Error as why:
        raise Unreadable([f"Line {rows.line_num}: {why}."]) from None
