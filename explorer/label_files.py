"""Files of labels: what is written of an SAE's, and what is read of one that somebody brings."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

from explorer.actions import labels
from explorer.models import Label, Sae
from explorer.plain import one_line
from explorer.queries import labels as label_queries
from explorer.sheets import Row, uncell

COLUMNS = ("index", "label", "author", "given_at", "current")
MOST = 100_000  # labels of one file
MOST_TOLD = 20  # lines that are wrong


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    index: object = None
    label: object = None
    fault: str = ""


class Unreadable(Exception):
    """What is wrong, a line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def records(sae: Sae, *, history: bool) -> Iterator[list[Row]]:
    for batch in label_queries.batches(sae, history=history):
        yield [_record(label) for label in batch]


def _record(label: Label) -> Row:
    author = label.author.username if label.author else None
    at = label.created_at.isoformat()
    return {"index": label.index, "label": label.text, "author": author, "given_at": at, "current": label.current}


def read(content: bytes, name: str, n_latents: int) -> dict[int, str]:
    """By index. Of columns or keys other than `index` and `label` nothing is read."""
    text = _decoded(content)
    found: dict[int, str] = {}
    faults: list[str] = []
    for line in _of_json(text) if _is_json(name, text) else _of_csv(text):
        try:
            if line.fault:
                raise ValueError(line.fault)
            index = _index(line.index, n_latents)
            if index in found:
                raise ValueError(f"feature {index} has a label in an earlier line.")
            found[index] = _label(line.label)
        except ValueError as why:
            faults.append(f"Line {line.number}: {why}")
        if len(faults) == MOST_TOLD:
            raise Unreadable([*faults, "There may be more."])
        if len(found) > MOST:
            raise Unreadable([f"These are more than {MOST:,} labels; bring them in several files."])
    if faults or not found:
        raise Unreadable(faults or ["There is no label in it."])
    return found


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
        if isinstance(found, dict):
            yield Line(number, found.get("index"), found.get("label"))
        else:
            yield Line(number, fault="it is no JSON object.")


def _of_csv(text: str) -> Iterator[Line]:
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        head = [each.strip().lower() for each in next(rows, [])]
        if not {"index", "label"} <= set(head):
            raise Unreadable(["Line 1: it names the columns, and two of them must be index and label."])
        at_index, at_label = head.index("index"), head.index("label")
        for row in rows:
            if len(row) > max(at_index, at_label):
                yield Line(rows.line_num, row[at_index], uncell(row[at_label]))
            elif row:
                yield Line(rows.line_num, fault="it has fewer columns than the first line names.")
    except csv.Error as why:
        raise Unreadable([f"Line {rows.line_num}: {why}."]) from None


def _index(value: object, n_latents: int) -> int:
    digits = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("its index is no whole number.")
    if len(digits) > 18 or int(digits) >= n_latents:
        raise ValueError(f"index {digits[:20]} is beyond the last, {n_latents - 1}.")
    return int(digits)


def _label(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("its label is no text.")
    label = one_line(value)
    if len(label) > labels.LONGEST:
        raise ValueError(f"its label has {len(label):,} characters; {labels.LONGEST} are the most.")
    return label
