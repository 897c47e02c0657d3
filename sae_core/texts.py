"""Text out of files and folders, document by document and piece by piece, so that no file is too large for memory.

A text file is one document, and so is each line of a JSONL file; either may be compressed (`.gz`). Bytes that are no
UTF-8 become U+FFFD and are counted, as everything is that is left out.
"""

import codecs
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sae_core.errors import BadInput

GZIP, JSON_LINES = ".gz", (".jsonl", ".ndjson")
PIECE = 1 << 16  # characters at most
BUFFER = 1 << 16  # bytes
MAX_LINE = 1 << 26  # bytes of a JSONL file's line, which has to be read whole
SNIFFED = 1 << 13  # bytes in which a file that is not text betrays itself by a NUL
BOM = codecs.BOM_UTF8
UNKNOWN = "\ufffd"
HALVES = re.compile("[\ud800-\udfff]")  # of characters beyond U+FFFF, which JSON can write alone


@dataclass(frozen=True)
class Cap:
    """How far a compressed file may expand: text shrinks to a third or a tenth, a bomb to a thousandth."""

    ratio: int = 200
    always: int = 1 << 26  # bytes that any file may expand to: short texts that repeat themselves shrink further
    never: int = 1 << 38  # bytes beyond which none may

    def of(self, compressed: int) -> int:
        return min(max(compressed * self.ratio, self.always), self.never)


class Piece(NamedTuple):
    text: str
    replaced: int  # characters that are U+FFFD for want of better


@dataclass(frozen=True)
class Document:
    """One text. Its pieces are read off once, before the next document is asked for; joined, they are the text."""

    name: str  # the file, and for JSONL the line: corpus.jsonl:12
    pieces: Iterator[Piece]


@dataclass
class Tally:
    """How far the reading has come, and what it left out of the folders that it was given."""

    bytes_read: int = 0  # of the files as they lie there, compressed or not
    binary_files: int = 0
    links: int = 0


def read_documents(
    sources: Sequence[str | Path], *, text_key: str = "text", tally: Tally | None = None, cap: Cap | None = None
) -> Iterator[Document]:
    """The documents of files and folders, in the order given; within a folder by name, whatever the machine.

    In folders, hidden files, links and files that are not text are left out; a file that is named is read.

    Pieces end at a newline wherever there is one, and there where the usual pre-tokenizers split as well: before the
    newline after a letter or digit, or between a newline and a letter or digit. So a text's tokens are those of its
    pieces, unless a line of over 32,000 characters, or nothing but lines that begin with white space and end with
    punctuation for as long, lies at a border.
    """
    tally, cap = tally or Tally(), cap or Cap()
    for source in _existing(sources):
        for path in _files(source, tally):
            if source.is_dir() and _is_binary(path, cap):
                tally.binary_files += 1
                tally.bytes_read += path.stat().st_size
            else:
                yield from _documents(path, text_key, tally, cap)


def total_bytes(sources: Sequence[str | Path]) -> int:
    """What `Tally.bytes_read` comes to in the end."""
    return sum(path.stat().st_size for source in _existing(sources) for path in _files(source, Tally()))


def in_pieces(text: str) -> Iterator[str]:
    """At most PIECE characters each, cut as `read_documents` says."""
    start = 0
    while len(text) - start > PIECE:
        end = start + _place_to_cut(text[start : start + PIECE + 1])
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _place_to_cut(text: str) -> int:
    """Where to end a piece, given one character more than it may have."""
    least, most = len(text) // 2, len(text) - 1
    fallback = 0
    for space in "\n", " ":
        at = text.rfind(space, least)
        while at > 0:
            run = at - 1 if text[at - 1] == "\r" else at
            if text[run - 1].isalnum():
                return run
            if space == "\n" and text[at + 1 : at + 2].isalnum() and not text[at - 1].isspace():
                return at + 1
            fallback = fallback or run
            at = text.rfind(space, least, at)
        if fallback:
            return fallback
    return most


def name_of(path: Path) -> str:
    """Fit to be stored and shown: file names may be any bytes."""
    return os.fsencode(path).decode(errors="replace")


def _existing(sources: Sequence[str | Path]) -> list[Path]:
    given = [sources] if isinstance(sources, str | Path) else sources
    paths = [Path(each).expanduser() for each in given]
    for path in paths:
        with _said_of(path):
            there, usable = path.exists(), path.is_file() or path.is_dir()
        if not usable:
            raise BadInput(f"{path}: {'neither a file nor a folder' if there else 'no such file or folder'}")
    return paths


def _files(source: Path, tally: Tally) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    waiting = [str(source)]  # the next one last
    while waiting:
        place = waiting.pop()
        if os.path.isfile(place):
            yield Path(place)
            continue
        with _said_of(Path(place)), os.scandir(place) as entries:
            seen = [each for each in entries if not each.name.startswith(".")]
        tally.links += sum(each.is_symlink() for each in seen)
        # What a link leads to in the folder is read where it lies, and what lies outside is no part of it. A pipe or a
        # device is neither file nor folder.
        kept = [each for each in seen if each.is_file(follow_symlinks=False) or each.is_dir(follow_symlinks=False)]
        waiting += sorted((each.path for each in kept), reverse=True)


def _is_binary(path: Path, cap: Cap) -> bool:
    with _opened(path, cap) as (stream, _):
        return b"\0" in stream.read(SNIFFED)


def _documents(path: Path, text_key: str, tally: Tally, cap: Cap) -> Iterator[Document]:
    name = name_of(path)
    before = tally.bytes_read
    kind = Path(path.stem).suffix if path.suffix == GZIP else path.suffix
    with _opened(path, cap) as (stream, file):

        def counted(pieces: Iterator[Piece]) -> Iterator[Piece]:
            for piece in pieces:
                tally.bytes_read = before + file.tell()
                yield piece

        if kind.lower() in JSON_LINES:
            for number, piece in _lines(name, stream, text_key):
                texts = (Piece(text, 0) for text in in_pieces(piece.text))
                yield Document(f"{name}:{number}", counted(_with_count(texts, piece.replaced)))
        else:
            yield Document(name, counted(_pieces(stream)))
        tally.bytes_read = before + file.tell()


def _with_count(pieces: Iterator[Piece], replaced: int) -> Iterator[Piece]:
    for piece in pieces:
        yield piece._replace(replaced=replaced)
        replaced = 0


def _pieces(stream: io.BufferedReader) -> Iterator[Piece]:
    held, undecoded = "", b""  # what does not fill a piece, and the beginning of a character
    replaced, first = 0, True
    while True:
        chunk = stream.read(PIECE)
        raw = undecoded + (chunk.removeprefix(BOM) if first else chunk)
        text, used = codecs.utf_8_decode(raw, "replace", not chunk)
        replaced += text.count(UNKNOWN) - raw[:used].count(UNKNOWN.encode())
        undecoded, first = raw[used:], False
        *whole, held = in_pieces(held + text) if held or text else [""]
        if not chunk:
            whole, held = [*whole, held], ""
        for each in whole:
            if each:
                yield Piece(each, replaced)
                replaced = 0
        if not chunk:
            return


def _lines(name: str, stream: io.BufferedReader, text_key: str) -> Iterator[tuple[int, Piece]]:
    """The text of each line that is not blank, with the line's number."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BadInput(f"{name}:{number}: a line of over {MAX_LINE:,} bytes; is it one JSON object per line?")
        if number == 1:
            line = line.removeprefix(BOM)
        if not line.strip():
            continue
        decoded = line.decode(errors="replace")
        replaced = decoded.count(UNKNOWN) - line.count(UNKNOWN.encode())
        text, halves = HALVES.subn(UNKNOWN, _text_of(f"{name}:{number}", decoded, text_key))
        yield number, Piece(text, replaced + halves)


def _text_of(place: str, line: str, text_key: str) -> str:
    try:
        given: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{place}: not JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadInput(f"{place}: {type(given).__name__}, expected a JSON object with the text under {text_key!r}")
    if text_key not in given:
        keys = ", ".join(repr(each[:40]) for each in list(given)[:10]) or "none"
        raise BadInput(f"{place}: no {text_key!r}; its keys are {keys}")
    text = given[text_key]
    if not isinstance(text, str):
        raise BadInput(f"{place}: {text_key!r} is {type(text).__name__}, expected text")
    return text


class _Expanded(io.RawIOBase):
    """What is in a file, expanded as far as its cap; what goes wrong on the way is said of the file."""

    def __init__(self, path: Path, file: io.FileIO, cap: Cap) -> None:
        self.path, self.cap = path, cap.of(os.fstat(file.fileno()).st_size)
        self.compressed = path.suffix == GZIP
        self.stream = gzip.GzipFile(fileobj=file) if self.compressed else file
        self.read_so_far = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _said_of(self.path):
            count = self.stream.readinto(buffer)
        self.read_so_far += count
        if self.compressed and self.read_so_far > self.cap:
            raise BadInput(
                f"{self.path}: expands to more than {self.cap:,} bytes, which no text of its size should; "
                "expand it yourself if it is one"
            )
        return count


@contextmanager
def _opened(path: Path, cap: Cap) -> Iterator[tuple[io.BufferedReader, io.FileIO]]:
    """What is in a file, and the file itself, for how far it has been read."""
    with _said_of(path):
        file = path.open("rb", buffering=0)
    with file:
        yield io.BufferedReader(_Expanded(path, file, cap), BUFFER), file


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a whole gzip file: {error}") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
