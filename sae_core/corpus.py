"""A corpus: text, or ids that somebody has made of it, as contexts of equal length in a folder.

    contexts.npy          (contexts, context_length) uint16, or uint32 where the vocabulary needs it
    lengths.npy           (contexts,) int32: how many tokens of each context are not padding
    pieces.npy            (pieces, 4) int64: context, position, document, offset; where in a context tokens of a
                          document begin, and which of the document's they are, in order
    documents.jsonl       a line per document; where each begins, and the last ends, is in document_starts.npy
    corpus.json           how it was made, and of what

All but corpus.json is read from the disk as it is needed.
"""

import hashlib
import json
import secrets
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sae_core.errors import BadInput
from sae_core.packing import CONTEXTS, DOCUMENT_STARTS, DOCUMENTS, LENGTHS, PIECES, Layout, Packer, add_ids, add_texts
from sae_core.texts import Tally, name_of, read_documents, total_bytes
from sae_core.token_files import map_npy, tokens_from_npy
from sae_core.tokenizer import Tokenizer

__all__ = ["Corpus", "CorpusConfig", "Progress", "build_corpus", "open_corpus", "tokens_from_npy"]

FORMAT = 1
CONFIG = "corpus.json"
CONTEXT_LENGTH = 128


@dataclass(frozen=True)
class CorpusConfig:
    """What corpus.json says."""

    format: int
    tokenizer: str | None  # its name; None where ids came without one
    fingerprint: str | None  # of the tokenizer
    context_length: int
    packing: str  # packed, apart, or given: ids that came as contexts
    prepend_bos: bool  # whether a bos was put before each context
    pad_id: int
    contexts: int
    tokens: int  # of documents: without bos, separators and padding
    documents: int
    empty_documents: int  # left out
    replaced: int  # characters that could not be read and became U+FFFD
    replaced_documents: int  # that hold such
    binary_files: int  # left out
    links: int  # left out
    sha256: str  # of contexts.npy


class DocumentRow(NamedTuple):
    name: str
    tokens: int
    characters: int  # 0 where only the ids came
    replaced: int


class CorpusPiece(NamedTuple):
    context: int
    position: int  # of its first token in the context
    document: int
    offset: int  # of its first token in the document; a separator is the token after a document's last


class Progress(NamedTuple):
    bytes_read: int  # of files as they lie there
    total_bytes: int
    documents: int
    tokens: int
    contexts: int


@dataclass(frozen=True)
class Corpus:
    folder: Path
    config: CorpusConfig
    contexts: NDArray[Any]  # (contexts, context_length)
    lengths: NDArray[np.int32]  # (contexts,)
    pieces: NDArray[np.int64]  # (pieces, 4)
    document_starts: NDArray[np.int64]  # (documents + 1,)

    def batches(self, size: int) -> Iterator[NDArray[Any]]:
        """Contexts in order, `size` at a time, the last time what is left."""
        for start in range(0, self.config.contexts, size):
            yield np.array(self.contexts[start : start + size])  # (size, context_length)

    def pieces_of(self, context: int) -> list[CorpusPiece]:
        if not 0 <= context < self.config.contexts:
            raise BadInput(f"{self.folder}: no context {context}; it has {self.config.contexts}")
        every = range(len(self.pieces))
        first = bisect_left(every, context, key=self._context_of)
        end = bisect_right(every, context, key=self._context_of)
        return [CorpusPiece(*row) for row in self.pieces[first:end].tolist()]

    def document_of(self, context: int, position: int = 0) -> int:
        """The document that a token comes from; a bos, and padding, go with the tokens beside them."""
        first, *others = self.pieces_of(context)
        return [first, *(each for each in others if each.position <= position)][-1].document

    def document(self, index: int) -> DocumentRow:
        if not 0 <= index < self.config.documents:
            raise BadInput(f"{self.folder}: no document {index}; it has {self.config.documents}")
        start, end = self.document_starts[index : index + 2].tolist()
        with (self.folder / DOCUMENTS).open("rb") as file:
            file.seek(start)
            return DocumentRow(**json.loads(file.read(end - start)))

    def check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Refuses ids that another tokenizer has made: an lm would read another text."""
        if self.config.fingerprint not in (None, tokenizer.fingerprint):
            raise BadInput(
                f"{self.folder}: its tokens were made by the tokenizer {self.config.tokenizer}, and {tokenizer.name} "
                "is another; build the corpus anew with the tokenizer of the lm"
            )

    def _context_of(self, piece: int) -> int:
        return int(self.pieces[piece, 0])


def build_corpus(
    sources: Sequence[str | Path],
    tokenizer: Tokenizer | None,
    out: str | Path,
    *,
    context_length: int | None = None,
    packing: Literal["packed", "apart"] = "packed",
    prepend_bos: bool = True,
    text_key: str = "text",
    max_tokens: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Corpus:
    """Texts, as `read_documents` takes them, or .npy files of ids, as contexts in the folder `out`.

    Packed, documents follow one another with the end-of-text token between them (beginning-of-text where there is no
    end), and are cut wherever a context is full. Apart, a context holds tokens of one document alone. Where asked and
    possible, a beginning-of-text token is put before each context. Ids of .npy files stay the contexts that they are,
    and a row of ids is cut into contexts with nothing between or before them.

    The folder appears when it is whole. What `on_progress` raises ends the work.
    """
    sources = [sources] if isinstance(sources, str | Path) else sources
    if max_tokens is not None and max_tokens < 1:
        raise BadInput(f"max_tokens is {max_tokens}, expected at least 1")
    tally, total = Tally(), total_bytes(sources)
    given = _given(sources, tokenizer, context_length)
    layout = _given_layout(given, tokenizer) if given else _layout(tokenizer, context_length, packing, prepend_bos)

    with _whole_or_not_at_all(Path(out)) as folder:
        with closing(Packer(folder, layout)) as packer:

            def on_batch() -> None:
                if on_progress:
                    on_progress(Progress(tally.bytes_read, total, packer.documents, packer.tokens, packer.contexts))

            for path, contexts in given:
                add_ids(packer, name_of(path), contexts, max_tokens, on_batch)
                tally.bytes_read += path.stat().st_size
                if packer.tokens == max_tokens:
                    break
            if tokenizer and not given:
                documents = read_documents(sources, text_key=text_key, tally=tally)
                add_texts(packer, documents, tokenizer, max_tokens, on_batch)
        on_batch()
        if not packer.tokens:
            left_out = f"binary files: {tally.binary_files}, links: {tally.links}, empty: {packer.empty_documents}"
            raise BadInput(f"no text in {_listed(sources)} (left out: {left_out})")
        config = _config(packer, tokenizer, tally, _sha256(folder / CONTEXTS))
        (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    return open_corpus(out)


def open_corpus(folder: str | Path, *, check_hash: bool = False) -> Corpus:
    """Refuses a folder whose files are missing or do not fit together; whether the ids are the same, when asked."""
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    corpus = Corpus(
        folder,
        config,
        contexts=_opened(folder / CONTEXTS, (config.contexts, config.context_length), np.uint16, np.uint32),
        lengths=_opened(folder / LENGTHS, (config.contexts,), np.int32),
        pieces=_opened(folder / PIECES, (None, 4), np.int64),
        document_starts=_opened(folder / DOCUMENT_STARTS, (config.documents + 1,), np.int64),
    )
    documents = folder / DOCUMENTS
    if not documents.is_file():
        raise BadInput(f"{documents}: missing")
    if (size := documents.stat().st_size) != corpus.document_starts[-1]:
        raise BadInput(f"{documents}: {size} bytes, expected {corpus.document_starts[-1]}")
    if check_hash and (found := _sha256(folder / CONTEXTS)) != config.sha256:
        raise BadInput(f"{folder / CONTEXTS}: its sha256 is {found}, expected {config.sha256}; it has been changed")
    return corpus


def _opened(path: Path, shape: tuple[int | None, ...], *dtypes: DTypeLike) -> NDArray[Any]:
    array = map_npy(path)
    fits = len(shape) == array.ndim and all(e in (None, a) for e, a in zip(shape, array.shape, strict=True))
    if not fits or array.dtype not in dtypes:
        expected = ", ".join("any" if each is None else str(each) for each in shape)
        kinds = " or ".join(np.dtype(each).name for each in dtypes)
        raise BadInput(f"{path}: {array.dtype} of shape {array.shape}, expected {kinds} of ({expected})")
    return array


def _read_config(path: Path) -> CorpusConfig:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing; {path.parent} is not a corpus, or was never finished") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        found = given.get("format") if isinstance(given, dict) else type(given).__name__
        raise BadInput(f"{path}: format {found}, expected {FORMAT}; build the corpus anew")
    for name, kind in get_type_hints(CorpusConfig).items():
        if name not in given or not isinstance(given[name], kind):
            raise BadInput(f"{path}: {name} is {given.get(name)!r}, expected {getattr(kind, '__name__', kind)}")
    return CorpusConfig(**{name: given[name] for name in get_type_hints(CorpusConfig)})


def _given(
    sources: Sequence[str | Path], tokenizer: Tokenizer | None, context_length: int | None
) -> list[tuple[Path, NDArray[Any]]]:
    """The .npy files among the sources: all of them or none."""
    paths = [Path(each).expanduser() for each in sources if Path(each).suffix == ".npy"]
    if paths and len(paths) < len(sources):
        raise BadInput(f"{paths[0]}: ids and text cannot be mixed in one corpus")
    n_vocab = tokenizer.n_vocab if tokenizer else 1 << 32
    given = [(path, tokens_from_npy(path, context_length=context_length, n_vocab=n_vocab)) for path in paths]
    for path, contexts in given[1:]:
        if contexts.shape[1] != given[0][1].shape[1]:
            raise BadInput(
                f"{path}: contexts of {contexts.shape[1]} ids; those of {paths[0]} have {given[0][1].shape[1]}"
            )
    return given


def _given_layout(given: list[tuple[Path, NDArray[Any]]], tokenizer: Tokenizer | None) -> Layout:
    return Layout(given[0][1].shape[1], "given", None, None, _pad_id(tokenizer), _dtype(tokenizer))


def _layout(
    tokenizer: Tokenizer | None, context_length: int | None, packing: Literal["packed", "apart"], prepend_bos: bool
) -> Layout:
    if tokenizer is None:
        raise BadInput("there is no tokenizer to make tokens of the text; give their ids as an .npy file instead")
    if packing not in ("packed", "apart"):
        raise BadInput(f"packing is {packing!r}, expected 'packed' or 'apart'")
    length = CONTEXT_LENGTH if context_length is None else context_length
    bos_id = tokenizer.bos_id if prepend_bos else None
    if length < (least := 1 if bos_id is None else 2):
        raise BadInput(f"context_length is {length}, expected at least {least}")
    between = tokenizer.bos_id if tokenizer.eos_id is None else tokenizer.eos_id
    separator_id = between if packing == "packed" else None
    return Layout(length, packing, bos_id, separator_id, _pad_id(tokenizer), _dtype(tokenizer))


def _pad_id(tokenizer: Tokenizer | None) -> int:
    """Any will do: lengths.npy says what is padding."""
    ids = (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id) if tokenizer else ()
    return next((each for each in ids if each is not None), 0)


def _dtype(tokenizer: Tokenizer | None) -> DTypeLike:
    return np.uint16 if tokenizer and tokenizer.n_vocab <= 1 << 16 else np.uint32


def _config(packer: Packer, tokenizer: Tokenizer | None, tally: Tally, sha256: str) -> CorpusConfig:
    return CorpusConfig(
        format=FORMAT,
        tokenizer=tokenizer.name if tokenizer else None,
        fingerprint=tokenizer.fingerprint if tokenizer else None,
        context_length=packer.layout.context_length,
        packing=packer.layout.packing,
        prepend_bos=packer.layout.bos_id is not None,
        pad_id=packer.layout.pad_id,
        contexts=packer.contexts,
        tokens=packer.tokens,
        documents=packer.documents,
        empty_documents=packer.empty_documents,
        replaced=packer.replaced,
        replaced_documents=packer.replaced_documents,
        binary_files=tally.binary_files,
        links=tally.links,
        sha256=sha256,
    )


@contextmanager
def _whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `out` at the end; beside it, so that a rename is all that takes."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f"{out}: there already; give a folder that is not")
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(sources: Sequence[str | Path]) -> str:
    shown = ", ".join(str(each) for each in sources[:5])
    return f"{shown} and {len(sources) - 5} more" if len(sources) > 5 else shown or "nothing"
