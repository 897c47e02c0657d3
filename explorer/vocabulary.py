"""What every id of an lm's tokenizer stands for, in an artifact that pages read without the tokenizer.

SAEV, the number of tokens and of special ones (uint32 each); where each token's bytes begin, and the last one's end
(uint32); the special ids (uint32); the bytes
"""

import struct
import sys
from array import array
from collections.abc import Collection, Sequence
from functools import lru_cache

from explorer import artifacts
from explorer.models import LanguageModel
from explorer.tokens import Vocabulary

HEAD = struct.Struct("<4sII")
MAGIC = b"SAEV"
KEPT = 8  # vocabularies ready in a process


def write(tokens: Sequence[bytes], special: Collection[int]) -> bytes:
    starts, at = [0], 0
    for token in tokens:
        at += len(token)
        starts.append(at)
    numbers = [_little(array("I", each)) for each in (starts, sorted(special))]
    return b"".join([HEAD.pack(MAGIC, len(tokens), len(special)), *numbers, *tokens])


def read(data: bytes) -> Vocabulary:
    magic, n_tokens, n_special = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise ValueError("not a vocabulary")
    starts, special = array("I"), array("I")
    at = HEAD.size
    for numbers, count in ((starts, n_tokens + 1), (special, n_special)):
        numbers.frombytes(data[at : at + 4 * count])
        at += 4 * count
        if sys.byteorder == "big":
            numbers.byteswap()
    tokens = [data[at + starts[i] : at + starts[i + 1]] for i in range(n_tokens)]
    return Vocabulary(tokens, frozenset(special))


def of(lm: LanguageModel) -> Vocabulary:
    return _kept(lm.vocabulary_id)


@lru_cache(KEPT)
def _kept(sha256: str | None) -> Vocabulary:
    """Without a tokenizer, ids are shown as they are."""
    return Vocabulary([]) if sha256 is None else read(artifacts.path(sha256).read_bytes())


def _little(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
