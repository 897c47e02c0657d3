"""Documents' tokens laid out as contexts, and written to a corpus's folder as they come."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sae_core.texts import Document, Piece
from sae_core.tokenizer import Tokenizer

CONTEXTS, LENGTHS, PIECES = "contexts.npy", "lengths.npy", "pieces.npy"
DOCUMENTS, DOCUMENT_STARTS = "documents.jsonl", "document_starts.npy"
BLOCK = 1 << 18  # tokens held before they are written
ENCODED_TOGETHER = 1 << 20  # characters: enough for every core, and some 100 MB of memory


class NpyAppender:
    """An .npy file that takes rows as they come and learns at the end how many there are."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self.dtype, self.row_shape, self.rows = np.dtype(dtype), row_shape, 0
        self._file = path.open("wb")
        self._data_at = self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        assert rows.shape[1:] == self.row_shape
        self._file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        self.rows += len(rows)

    def close(self) -> None:
        self._file.seek(0)
        assert self._write_header() == self._data_at  # numpy leaves room for any number of rows, for this very purpose
        self._file.close()

    def _write_header(self) -> int:
        shape = (self.rows, *self.row_shape)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        )
        return self._file.tell()


@dataclass(frozen=True)
class Layout:
    context_length: int
    packing: Literal["packed", "apart", "given"]  # given: ids that are contexts already
    bos_id: int | None  # begins each context
    separator_id: int | None  # comes between documents
    pad_id: int
    dtype: DTypeLike


class Packer:
    """Packed, documents follow one another with a separator between them, which counts as the token after the last one
    of the document that it ends. Apart, a document begins a context, and what it does not fill is padding."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.layout = layout
        self.contexts = 0  # whole ones
        self.documents = self.tokens = self.replaced = 0  # without bos, separators and padding
        self.empty_documents = self.replaced_documents = 0
        length = layout.context_length
        self._block = np.full((max(BLOCK // length, 1), length), layout.pad_id, layout.dtype)
        self._row = self._filled = 0  # where in the block the next token goes
        self._in_piece = False  # whether the next token goes on where the last one ended
        self._lengths: list[int] = []
        self._pieces: list[tuple[int, int, int, int]] = []
        self._name: str | None = None  # of the document that has begun
        self._offset = self._characters = self._replaced = 0  # in that document
        self._last_tokens = 0  # how many the document before it had
        self._to_contexts = NpyAppender(folder / CONTEXTS, layout.dtype, (length,))
        self._to_lengths = NpyAppender(folder / LENGTHS, np.int32)
        self._to_pieces = NpyAppender(folder / PIECES, np.int64, (4,))
        self._to_starts = NpyAppender(folder / DOCUMENT_STARTS, np.int64)
        self._to_documents = (folder / DOCUMENTS).open("wb")

    def begin_document(self, name: str) -> None:
        self.end_document()
        self._name = name

    def add(self, ids: NDArray[Any], characters: int, replaced: int) -> None:
        """More of the document that has begun."""
        if len(ids) and not self._offset and self.documents and self.layout.separator_id is not None:
            self._separate(self.layout.separator_id)
        self._add(ids, self.documents, self._offset)
        self.tokens += len(ids)
        self._offset += len(ids)
        self._characters += characters
        self._replaced += replaced

    def end_document(self) -> None:
        if self._name is None:
            return
        if self._offset:
            self._write_document(self._name)
        else:
            self.empty_documents += 1
        self._name, self._in_piece = None, False
        self._offset = self._characters = self._replaced = 0
        if self.layout.packing == "apart" and self._filled:
            self._end_context()

    def close(self) -> None:
        self.end_document()
        if self._filled:
            self._end_context()
        self._write_block()
        self._to_starts.append(np.array([self._to_documents.tell()]))
        self._to_documents.close()
        for each in (self._to_contexts, self._to_lengths, self._to_pieces, self._to_starts):
            each.close()

    def _separate(self, separator_id: int) -> None:
        # The document before goes on, unless its context was full: then it has a piece more.
        self._in_piece = self._filled > 0
        self._add(np.array([separator_id]), self.documents - 1, self._last_tokens)
        self._in_piece = False

    def _add(self, ids: NDArray[Any], document: int, offset: int) -> None:
        length = self.layout.context_length
        done = 0
        while done < len(ids):
            if not self._filled and self.layout.bos_id is not None:
                self._block[self._row, 0] = self.layout.bos_id
                self._filled = 1
            if not self._in_piece:
                self._pieces.append((self.contexts, self._filled, document, offset + done))
                self._in_piece = True
            taken = min(length - self._filled, len(ids) - done)
            self._block[self._row, self._filled : self._filled + taken] = ids[done : done + taken]
            done += taken
            self._filled += taken
            if self._filled == length:
                self._end_context()

    def _end_context(self) -> None:
        self._lengths.append(self._filled)
        self.contexts += 1
        self._row += 1
        self._filled, self._in_piece = 0, False
        if self._row == len(self._block):
            self._write_block()

    def _write_document(self, name: str) -> None:
        self._to_starts.append(np.array([self._to_documents.tell()]))
        row = {"name": name, "tokens": self._offset, "characters": self._characters, "replaced": self._replaced}
        self._to_documents.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._last_tokens = self._offset
        self.documents += 1
        self.replaced += self._replaced
        self.replaced_documents += self._replaced > 0

    def _write_block(self) -> None:
        self._to_contexts.append(self._block[: self._row])
        self._to_lengths.append(np.array(self._lengths, np.int32))
        self._to_pieces.append(np.array(self._pieces, np.int64).reshape(-1, 4))
        self._block.fill(self.layout.pad_id)
        self._row = 0
        self._lengths, self._pieces = [], []


def add_ids(
    packer: Packer, name: str, contexts: NDArray[Any], max_tokens: int | None, on_batch: Callable[[], None]
) -> None:
    """Contexts that somebody has made, as one document."""
    packer.begin_document(name)
    rows = max(BLOCK // contexts.shape[1], 1)
    for start in range(0, len(contexts), rows):
        ids = contexts[start : start + rows].reshape(-1)
        packer.add(ids if max_tokens is None else ids[: max_tokens - packer.tokens], 0, 0)
        if packer.tokens == max_tokens:
            return
        on_batch()


class _Part(NamedTuple):
    """A piece of a document, on its way to being tokens."""

    document: str
    begins: bool
    text: str
    replaced: int


def add_texts(
    packer: Packer,
    documents: Iterator[Document],
    tokenizer: Tokenizer,
    max_tokens: int | None,
    on_batch: Callable[[], None],
) -> None:
    for batch in _batches(documents):
        for part, ids in zip(batch, _encoded(batch, tokenizer), strict=True):
            if part.begins:
                packer.begin_document(part.document)
            taken = ids if max_tokens is None else ids[: max_tokens - packer.tokens]
            packer.add(taken, len(part.text), part.replaced)
            if packer.tokens == max_tokens:
                return
        on_batch()


def _batches(documents: Iterator[Document]) -> Iterator[list[_Part]]:
    batch: list[_Part] = []
    size = 0
    for document in documents:
        first = next(document.pieces, Piece("", 0))  # a document without text is a part as well, to be counted
        for index, (text, replaced) in enumerate(chain([first], document.pieces)):
            batch.append(_Part(document.name, index == 0, text, replaced))
            size += len(text) + 1
            if size >= ENCODED_TOGETHER:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _encoded(batch: Sequence[_Part], tokenizer: Tokenizer) -> Iterator[NDArray[np.uint32]]:
    beginnings = iter(tokenizer.encode_many([part.text for part in batch if part.begins]))
    others = iter(tokenizer.encode_continued([part.text for part in batch if not part.begins]))
    for part in batch:
        ids = next(beginnings if part.begins else others)
        yield np.fromiter(ids, np.uint32, len(ids))
