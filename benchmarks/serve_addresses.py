"""Lists and searches that `benchmarks/serve.py` asks for, no address twice."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

SORTS = ("index", "label", "density", "maximum", "mean", "p99", "token", "decoder_norm", "neighbour_cosine")
WORDS = (
    "river", "import", "bracket", "comma", "verb", "year", "month", "city", "colour",
    "letter", "number", "question", "negation", "quote", "name", "plural", "prefix", "suffix",
    "tense", "price", "date", "clause", "decorator", "loop", "header", "license", "email",
    "path", "error", "digit", "vowel", "accent", "emoji", "hyphen",
)  # fmt: skip

Query = dict[str, object]


@dataclass(frozen=True)
class Address:
    kind: str
    path: str
    wanted: str  # that the answer must hold


def addresses(sae: str, lm: str, features: int, repeats: int) -> Iterator[Address]:
    dice = random.Random(1)
    for sort in SORTS:
        for way in ("asc", "desc"):
            for number in range(repeats):
                yield _browser(sae, f"sorted by {sort}, {way}", {"sort": sort, "dir": way, "index_min": number})
    filters: dict[str, Callable[[], Query]] = {
        "a range of densities": lambda: _between(dice, "density", 4e-4, 3.4e-3),
        "a range of maxima": lambda: _between(dice, "maximum", 2, 8),
        "a narrow range of maxima, sorted by mean": lambda: _within(dice, "maximum", 3, 6, 1e-3) | {"sort": "mean"},
        "a range of norms, sorted by density": lambda: _between(dice, "decoder_norm", 0, 1) | {"sort": "density"},
        "a range of cosines with the encoder": lambda: _between(dice, "encoder_cosine", 0, 1),
        "a top token": lambda: {"token": f"#{dice.randrange(50_000)}"},
        "labelled": lambda: {"labelled": "yes", "index_min": str(dice.randrange(features))},
        "without a label, sorted by maximum": lambda: {"labelled": "no", "sort": "maximum", "dir": "desc",
                                                       "index_min": str(dice.randrange(1000))},
        "words of a label": lambda: {"words": " ".join(dice.sample(WORDS, 2))},
    }  # fmt: skip
    for kind, draw in filters.items():
        for _ in range(repeats):
            yield _browser(sae, kind, draw())
    for _ in range(repeats):
        yield _search("search: words of labels", {"kind": "labels", "q": " ".join(dice.sample(WORDS, 2))})
        yield _search("search: the beginning of a label", {"kind": "labels", "q": dice.choice(WORDS)[:3]})
        yield _search("search: examples that peak on a token", _of(sae, "tokens", f"#{dice.randrange(50_000)}"))
        yield _search("search: a token's logit", _of(sae, "logit", f"#{dice.randrange(50_000)}"))
        yield _search("search: like a feature", _of(sae, "like", str(dice.randrange(features))))


def _search(kind: str, query: Query) -> Address:
    return Address(kind, f"/search/?{urlencode(query)}", "/features/")


def _of(sae: str, kind: str, q: str) -> Query:
    return {"kind": kind, "sae": sae, "q": q}


def _browser(sae: str, kind: str, query: Query) -> Address:
    return Address(kind, f"/saes/{sae}/features/?{urlencode(query)}", "<h1")


def _between(dice: random.Random, column: str, least: float, most: float) -> Query:
    low, high = sorted(dice.uniform(least, most) for _ in range(2))
    return {f"{column}_min": low, f"{column}_max": high}


def _within(dice: random.Random, column: str, least: float, most: float, width: float) -> Query:
    low = dice.uniform(least, most)
    return {f"{column}_min": low, f"{column}_max": low + width}
