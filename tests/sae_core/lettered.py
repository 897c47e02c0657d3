"""A corpus of single letters, whose ids are known: a is 4, b is 5 …"""

import json
from collections.abc import Sequence
from pathlib import Path

from sae_core.corpus import Corpus

PAD, EOS, BOS, UNK = range(4)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lines(path: Path, documents: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in documents))
    return path


def ids(letters_of: str) -> list[int]:
    return [4 + LETTERS.index(each) for each in letters_of]


def rows(corpus: Corpus) -> list[list[int]]:
    found: list[list[int]] = corpus.contexts.tolist()
    return found
