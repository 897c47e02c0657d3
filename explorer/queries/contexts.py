"""Text: windows of a corpus by their numbers, and the documents that they come from."""

import struct
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from explorer.models import Context, Corpus, Document

PIECE = struct.Struct("<3i")


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
    q = Context.objects.filter(corpus=corpus, index__in=set(numbers)).values_list("index", "ids", "pieces")
    found = {}
    for index, ids, pieces in q:
        tokens = array(kind)
        tokens.frombytes(bytes(ids))
        if sys.byteorder == "big":
            tokens.byteswap()
        found[index] = ContextText(tokens.tolist(), [Piece(*each) for each in PIECE.iter_unpack(bytes(pieces))])
    return found


def documents(corpus: Corpus, indexes: Iterable[int]) -> dict[int, str]:
    q = Document.objects.filter(corpus=corpus, index__in=set(indexes))
    return dict(q.values_list("index", "name"))
