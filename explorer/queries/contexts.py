"""Text: windows of a corpus by their numbers, and the documents that they come from."""

import struct
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from explorer.models import Corpus

PIECE = struct.Struct("<3i")
# Plain statements, whose text is always the same: a feature's page asks for dozens at once.
CONTEXTS = "SELECT index, ids, pieces FROM explorer_context WHERE corpus_id = %s AND index = ANY(%s)"
DOCUMENTS = "SELECT index, name FROM explorer_document WHERE corpus_id = %s AND index = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Piece:
    """Where in a context tokens of a document begin, and which of the document's that is."""

    position: int
    document: int
    offset: int


@dataclass(frozen=True, slots=True)
class ContextText:
    ids: list[int]
    pieces: list[Piece]

    def piece_at(self, position: int) -> Piece | None:
        """Of the document that a token comes from; a bos, and a separator, go with the tokens beside them."""
        begun = [piece for piece in self.pieces if piece.position <= position]
        return begun[-1] if begun else next(iter(self.pieces), None)


def contexts(corpus: Corpus, numbers: Iterable[int]) -> dict[int, ContextText]:
    kind = {2: "H", 4: "I"}[corpus.id_bytes]
    found = {}
    for index, ids, pieces in _rows(CONTEXTS, corpus, numbers):
        tokens = array(kind)
        tokens.frombytes(bytes(ids))
        if sys.byteorder == "big":
            tokens.byteswap()
        found[index] = ContextText(tokens.tolist(), [Piece(*each) for each in PIECE.iter_unpack(bytes(pieces))])
    return found


def documents(corpus: Corpus, indexes: Iterable[int]) -> dict[int, str]:
    return dict(_rows(DOCUMENTS, corpus, indexes))


def _rows(statement: str, corpus: Corpus, numbers: Iterable[int]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [corpus.pk, list(set(numbers))])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
