"""An lm's tokenizer: text to ids, and ids back to the bytes that they stand for.

Every id stands for some bytes, whatever is around it, and the bytes of a text's ids, joined, are the text's UTF-8. So a
character that is split over several tokens shows whole, and where each token lies in a text is a matter of adding up.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from sae_core.errors import BadInput
from sae_core.hub import local_path

# Any of these beside an lm's weights says that its tokenizer lies there too.
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json", "tiktoken.model",
)  # fmt: skip
READ_WITH_THEM = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "config.json")
# What can be settled token by token; what else there is works on the text as a whole, such as the Strip after a Fuse.
BY_TOKEN = {"Replace", "Metaspace", "ByteFallback", "Fuse", "Strip"}
BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")
# Parts of a tokenizer.json that have no say in which ids `encode` gives.
NO_MATTER = ("truncation", "padding", "post_processor")

ToBytes = Callable[[str], bytes]


class TokenTable(NamedTuple):
    """The bytes of every id: those of `i` are `blob[starts[i] : starts[i + 1]]`."""

    blob: bytes
    starts: NDArray[np.int64]  # (n_vocab + 1,)


class TextSpans(NamedTuple):
    """Some tokens as one text: the bytes of token `i` are `text[starts[i] : starts[i + 1]]`."""

    text: bytes
    starts: NDArray[np.int64]  # (tokens + 1,)


class Tokenizer:
    """A fast tokenizer of `transformers`, with what each of its ids stands for.

    A token's bytes keep the space that the token begins with, and where a tokenizer puts a space before whatever it is
    given (Llama's do), that of a text's first token is kept as well: the joined bytes of `encode("Hello")` are then
    b" Hello". Special tokens are their literal strings.
    """

    def __init__(self, hf: Any, name: str) -> None:
        self.hf, self.name = hf, name
        self._backend = hf.backend_tokenizer
        self.n_vocab: int = max(self._backend.get_vocab().values(), default=-1) + 1
        if not self.n_vocab:
            raise BadInput(f"{name}: the tokenizer has no tokens")
        self.bos_id: int | None = hf.bos_token_id
        self.eos_id: int | None = hf.eos_token_id
        self.pad_id: int | None = hf.pad_token_id
        added = self._backend.get_added_tokens_decoder()
        self._added_ids = frozenset(added)
        self.special_ids = frozenset(hf.all_special_ids) | {index for index, token in added.items() if token.special}

    @classmethod
    def load(cls, path_or_hub_id: str | Path) -> "Tokenizer | None":
        """From a folder or the hub; None where a folder holds no tokenizer. Never runs code that lies beside it."""
        folder = local_path(path_or_hub_id, only=TOKENIZER_FILES + READ_WITH_THEM, bare=True)
        if not folder.is_dir():
            raise BadInput(f"{path_or_hub_id}: a file; give the folder that holds the tokenizer")
        if not any((folder / each).is_file() for each in TOKENIZER_FILES):
            return None
        on_hub = not Path(path_or_hub_id).expanduser().exists()
        return cls(_read(folder), str(path_or_hub_id) if on_hub else folder.resolve().name)

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same vocabulary and rules, wherever they lie and whatever is put around a text."""
        state = json.loads(self._backend.to_str())
        kept = {key: value for key, value in state.items() if key not in NO_MATTER}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids alone: nothing is added before or after, and nothing cut off."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        # The file of a tokenizer may ask for both, and so may whoever else uses `hf`.
        if self._backend.truncation is not None:
            self._backend.no_truncation()
        if self._backend.padding is not None:
            self._backend.no_padding()
        try:
            encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError as error:
            for text in texts:
                if half := re.search("[\ud800-\udfff]", text):
                    at = half.start()
                    raise BadInput(f"the text holds half a character, {text[at]!a} at {at}; replace it") from error
            raise
        return [each.ids for each in encoded]

    def encode_continued(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts that go on where others ended: without the space that some tokenizers put before a beginning."""
        if not self._puts_a_space_first:
            return self.encode_many(texts)
        # Something that texts are split after is put before each, and its ids are taken away again.
        leads = ["a" if text[:1].isspace() else "\n" for text in texts]
        of_lead = {lead: self.encode(lead) for lead in set(leads)}
        continued = []
        encoded = self.encode_many([lead + text for lead, text in zip(leads, texts, strict=True)])
        for lead, text, ids in zip(leads, texts, encoded, strict=True):
            start = of_lead[lead]
            together = ids[: len(start)] != start  # the lead and the text have become one
            continued.append(self.encode(text) if together else ids[len(start) :])
        return continued

    @cached_property
    def _puts_a_space_first(self) -> bool:
        return self.text_and_spans(self.encode("a")).text.startswith(b" ")

    def token_bytes(self, token_id: int) -> bytes:
        """What one id stands for; b"" for an id within the vocabulary that no token has."""
        return self.text_and_spans([token_id]).text

    def text_and_spans(self, ids: Sequence[int] | NDArray[Any]) -> TextSpans:
        at = self._checked(ids)  # (tokens,)
        blob, starts = self.table
        lengths = starts[at + 1] - starts[at]
        text = b"".join(blob[first : first + n] for first, n in zip(starts[at].tolist(), lengths.tolist(), strict=True))
        return TextSpans(text, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """The joined bytes as text, U+FFFD for those that are no characters."""
        return self.text_and_spans(ids).text.decode(errors="replace")

    @cached_property
    def table(self) -> TokenTable:
        to_bytes = _to_bytes(self._backend)
        found = [b""] * self.n_vocab
        for token, index in self._backend.get_vocab().items():
            found[index] = self._bytes_of(index, token, to_bytes)
        starts = np.zeros(self.n_vocab + 1, np.int64)
        np.cumsum([len(each) for each in found], out=starts[1:])
        return TokenTable(b"".join(found), starts)

    def _bytes_of(self, index: int, token: str, to_bytes: ToBytes | None) -> bytes:
        # Gemma lists runs of spaces, which text gives too, among its added tokens; ids that no text gives are literal.
        if index in self.special_ids or (index in self._added_ids and self._backend.model.id_to_token(index) != token):
            return token.encode()
        if to_bytes is None:
            alone: str = self._backend.decode([index], skip_special_tokens=False)
            return alone.encode()
        return to_bytes(token)

    def _checked(self, ids: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
        given = np.asarray(ids)
        if given.size == 0:
            return np.zeros(0, np.int64)
        if given.dtype.kind not in "iu" or given.ndim != 1:
            raise BadInput(f"token ids are {given.dtype} of shape {given.shape}, expected one row of whole numbers")
        if (low := int(given.min())) < 0 or (high := int(given.max())) >= self.n_vocab:
            wrong = low if low < 0 else high
            raise BadInput(f"token id {wrong} is not one of {self.name}, whose ids are 0 to {self.n_vocab - 1}")
        return given.astype(np.int64)


def _read(folder: Path) -> Any:
    """A tokenizer.json is taken as it is: AutoTokenizer builds some anew by the class that they name, which drops the
    file's own pre-tokenizer, and the lm has been trained on what the file says."""
    try:
        reader = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
        hf = reader.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the Rust side raises no narrower one
        raise BadInput(f"{_at_fault(folder)}: not a tokenizer that can be read: {error}") from error
    if getattr(hf, "backend_tokenizer", None) is None:
        raise BadInput(
            f"{folder}: {type(hf).__name__} has no fast form; save one as tokenizer.json with the `tokenizers` library"
        )
    return hf


def _at_fault(folder: Path) -> Path:
    """The file to blame: one that is not JSON, or else the one that says most."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"):
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return folder / name
    return folder / "tokenizer.json" if (folder / "tokenizer.json").is_file() else folder


def _to_bytes(backend: Any) -> ToBytes | None:
    """What the backend's decoder makes of one token; None where it has to be asked."""
    if backend.decoder is None:
        return None
    state = json.loads(backend.decoder.__getstate__())
    steps = state["decoders"] if state["type"] == "Sequence" else [state]
    kinds = [step["type"] for step in steps]
    if "ByteLevel" in kinds:
        return _byte_level_bytes if set(kinds) <= {"ByteLevel", "Fuse"} else None
    whole_text = kinds[kinds.index("Fuse") :] if "Fuse" in kinds else []
    if not set(kinds) <= BY_TOKEN or "Strip" in kinds[: len(kinds) - len(whole_text)]:
        return None
    replaced: list[tuple[str, str]] = []
    for step in steps:
        if step["type"] == "Metaspace":
            replaced.append((step["replacement"], " "))
        elif step["type"] == "Replace":
            if "String" not in step["pattern"]:
                return None
            replaced.append((step["pattern"]["String"], step["content"]))
    single_bytes = "ByteFallback" in kinds

    def to_bytes(token: str) -> bytes:
        if single_bytes and (byte := BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        for old, new in replaced:
            token = token.replace(old, new)
        return token.encode()

    return to_bytes


def _byte_table() -> dict[str, int]:
    """GPT-2's characters for bytes: those that print are themselves, the others lie from U+0100 on, in order."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {chr(byte): byte for byte in printing} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


BYTES = _byte_table()


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes([BYTES[character] for character in token])
    except KeyError:
        return token.encode()  # added by hand, as it reads
