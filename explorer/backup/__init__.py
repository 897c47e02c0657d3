"""An install in one file: every row, every artifact, and the key that signs.

A plain tar archive with these members, in this order:

    rows/<table>.copy.gz   what PostgreSQL's COPY says in its text format, gzipped
    artifacts/<sha256>     the bytes
    secret_key             where the key lies in the data folder (not where EXPLORER_SECRET_KEY is set)
    manifest.json          what the others must be (manifest.py); last, since only then it is known

Which tables and columns there are is read from the migrations (schema.py), so a release that adds
a model needs no change here.
"""

from dataclasses import dataclass

from django.template.defaultfilters import filesizeformat, pluralize


class Failed(Exception):
    """What was wrong, where, and what to do: for the person at the terminal."""


@dataclass(frozen=True)
class Summary:
    tables: int
    rows: int
    artifacts: int
    size: int  # bytes of the archive

    def __str__(self) -> str:
        parts = (counted(self.tables, "table"), counted(self.rows, "row"), counted(self.artifacts, "artifact"))
        return f"{', '.join(parts)}, {in_words(self.size)}"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{pluralize(number)}"


def in_words(size: int) -> str:
    """Bytes for a terminal: 12.3 MB."""
    return filesizeformat(size).replace("\N{NO-BREAK SPACE}", " ")
