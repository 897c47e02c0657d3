"""Files of labels: what is written of an SAE's, and what is read of one that somebody brings."""

from collections.abc import Iterator

from explorer.actions import labels
from explorer.brought import Line, Unreadable, lines, take_all, whole
from explorer.models import Label, Sae
from explorer.plain import one_line
from explorer.queries import labels as label_queries
from explorer.sheets import Row

COLUMNS = ("index", "label", "author", "given_at", "current")
MOST = 100_000  # labels of one file


def records(sae: Sae, *, history: bool) -> Iterator[list[Row]]:
    for batch in label_queries.batches(sae, history=history):
        yield [_record(label) for label in batch]


def _record(label: Label) -> Row:
    author = label.author.username if label.author else None
    at = label.created_at.isoformat()
    return {"index": label.index, "label": label.text, "author": author, "given_at": at, "current": label.current}


def read(content: bytes, name: str, n_latents: int) -> dict[int, str]:
    """By index. Of columns or keys other than `index` and `label` nothing is read. Raises Unreadable."""
    found: dict[int, str] = {}

    def take(line: Line) -> None:
        index = _index(line.row.get("index"), n_latents)
        if index in found:
            raise ValueError(f"feature {index} has a label in an earlier line.")
        found[index] = _label(line.row.get("label"))
        if len(found) > MOST:
            raise Unreadable([f"These are more than {MOST:,} labels; bring them in several files."])

    take_all(lines(content, name, _wrong_head), take)
    if not found:
        raise Unreadable(["There is no label in it."])
    return found


def _wrong_head(head: list[str]) -> str:
    there = {"index", "label"} <= set(head)
    return "" if there else "it names the columns, and two of them must be index and label."


def _index(value: object, n_latents: int) -> int:
    index = whole(value)
    if index is None:
        raise ValueError("its index is no whole number.")
    if index >= n_latents:
        raise ValueError(f"index {str(index)[:20]} is beyond the last, {n_latents - 1}.")
    return index


def _label(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("its label is no text.")
    label = one_line(value)
    if len(label) > labels.LONGEST:
        raise ValueError(f"its label has {len(label):,} characters; {labels.LONGEST} are the most.")
    return label
