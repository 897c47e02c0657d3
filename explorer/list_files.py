"""Lists of features as files."""

from collections.abc import Iterator

from explorer.models import FeatureList
from explorer.queries import lists
from explorer.queries.lists import Entry
from explorer.sheets import Row

COLUMNS = ("sae", "index", "label", "note", "density", "maximum", "added_by", "added_at")


def records(found: FeatureList) -> Iterator[list[Row]]:
    for entries in lists.batches(found):
        yield [record(entry) for entry in entries]


def record(entry: Entry) -> Row:
    """None for what is not known."""
    row = entry.row
    return {
        "sae": row.sae.slug,
        "index": row.index,
        "label": entry.label or None,
        "note": row.note,
        "density": entry.density,
        "maximum": entry.activity.maximum if entry.activity else None,
        "added_by": row.added_by.username if row.added_by else None,
        "added_at": row.created_at.isoformat(),
    }
