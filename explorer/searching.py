"""One box for all searches: what somebody means, and what is found of it.

An index, a token in quotes and words are told apart unless a kind of search is chosen.
"""

import json
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from explorer import directions, vocabulary
from explorer.directions import Scored
from explorer.excerpts import Excerpt, excerpts
from explorer.models import LanguageModel, Sae
from explorer.queries import library
from explorer.queries import search as queries
from explorer.queries.glimpses import glimpses
from explorer.queries.search import Hit, Key
from explorer.queries.words import words_of

FOUND = 25  # features that are raised, lowered or alike
AROUND = 6  # tokens of an example, to both sides
FIRST = 10  # of each SAE, where several are searched
BIGGEST_INDEX = 2**31 - 1
BIGGEST = 3e38  # of single precision
INDEX = re.compile(r"#?([0-9]{1,10})")
QUOTED = re.compile(r"""["'“”„«‘](.+)["'“”»’]""", re.DOTALL)
TOKEN_ID = re.compile(r"#([0-9]{1,9})")


class Kind(StrEnum):
    LABELS = "labels"
    TOKENS = "tokens"
    LOGIT = "logit"
    TEXT = "text"
    LIKE = "like"


@dataclass(frozen=True, slots=True)
class Asked:
    q: str
    chosen: Kind | None = None
    sae: Sae | None = None  # None: all
    of: Sae | None = None  # whose feature others are to be like
    page: int = 1

    @property
    def kind(self) -> Kind:
        if self.chosen:
            return self.chosen
        if self.q.lstrip().startswith("["):
            return Kind.LIKE
        return Kind.TOKENS if QUOTED.fullmatch(self.q.strip()) else Kind.LABELS

    @property
    def index(self) -> int | None:
        found = INDEX.fullmatch(self.q.strip())
        return int(found[1]) if found and int(found[1]) <= BIGGEST_INDEX else None

    @property
    def goes_to(self) -> int | None:
        """The feature that somebody typed the index of."""
        index = None if self.chosen or self.sae is None else self.index
        return index if self.sae and index is not None and index < self.sae.n_latents else None

    @property
    def words(self) -> tuple[str, ...]:
        return words_of(self.q)

    @property
    def token_text(self) -> str:
        """Without the quotes that say it is a token; blanks within them are part of it."""
        quoted = QUOTED.fullmatch(self.q.strip())
        return quoted[1] if quoted else self.q if self.q.isspace() else self.q.strip()

    @property
    def vector(self) -> list[float] | None:
        """Numbers as JSON has them; None where it is no list of them."""
        try:
            numbers = json.loads(self.q)
            if not isinstance(numbers, list) or not all(type(each) in (int, float) for each in numbers):
                return None
            found = [float(each) for each in numbers]
        except (ValueError, OverflowError, RecursionError):
            return None
        return found if found and all(math.isfinite(each) and abs(each) < BIGGEST for each in found) else None


@dataclass(frozen=True, slots=True)
class Row:
    hit: Hit
    value: float | None = None  # logit or cosine
    tokens: tuple[int, ...] = ()  # that its strongest examples peak on
    excerpt: Excerpt | None = None  # its strongest example, where one SAE is searched


@dataclass(frozen=True, slots=True)
class Group:
    """Features of one search, of one SAE where one was searched."""

    rows: list[Row]
    title: str = ""
    n: int = 0  # of all that were found
    sae: Sae | None = None


@dataclass(frozen=True, slots=True)
class Found:
    groups: list[Group] = field(default_factory=list)
    n: int = 0
    more: bool = False  # and others too, that were not put in order
    token: int | None = None  # that was meant
    tokens: tuple[tuple[LanguageModel, tuple[int, ...]], ...] = ()  # that could be
    problem: str = ""  # what is to be said where there is nothing
    unprepared: bool = False  # whether somebody may mend that

    @property
    def any(self) -> bool:
        return any(group.rows for group in self.groups)


NOTHING = Found()


def search(asked: Asked, saes: Sequence[Sae]) -> Found:
    """`saes` are all there are, each with its newest collection."""
    if not asked.q or not saes:
        return NOTHING
    return {
        Kind.LABELS: _labels, Kind.TOKENS: _tokens, Kind.LOGIT: _logit, Kind.TEXT: _nothing, Kind.LIKE: _like,
    }[asked.kind](asked, saes)  # fmt: skip


def meant(lm: LanguageModel, text: str) -> tuple[int, ...]:
    """The tokens that are a text, or it after a space; or the one of a number, written #464."""
    if number := TOKEN_ID.fullmatch(text):
        return (int(number[1]),) if int(number[1]) < lm.n_vocab else ()
    words = vocabulary.of(lm)
    spelled = words.spelled(text)
    as_words = [token for token in spelled if words.text([token])[0] != text]
    return (*as_words, *(token for token in spelled if token not in as_words))  # words mostly stand after a space


def usual(saes: Sequence[Sae]) -> Sae:
    """That is searched where only one can be and none was chosen."""
    return next((sae for sae in saes if sae.collections.all()), saes[0])


def _nothing(asked: Asked, saes: Sequence[Sae]) -> Found:
    return NOTHING


def _labels(asked: Asked, saes: Sequence[Sae]) -> Found:
    if not asked.words:
        return Found(problem="There is no word in it.")
    labelled = queries.labels([asked.sae] if asked.sae else saes, asked.words, asked.page)
    seen = _excerpts(asked.sae, [index for _, index in labelled.keys]) if asked.sae else {}
    rows = [Row(hit, excerpt=seen.get(hit.index)) for hit in queries.hits(saes, labelled.keys)]
    return Found([Group(rows, n=labelled.n)], labelled.n, labelled.more)


def _tokens(asked: Asked, saes: Sequence[Sae]) -> Found:
    searched = [asked.sae] if asked.sae else saes
    by_lm = _meant_by_each(asked, searched)
    if not any(tokens for _, tokens in by_lm):
        return _no_token(asked, searched)
    tokens_of = {lm.pk: tokens for lm, tokens in by_lm}
    groups, n = [], 0
    for lm_id, tokens in tokens_of.items():
        some = [sae for sae in searched if sae.lm_id == lm_id]
        found = queries.peaking_on(some, tokens) if tokens else {}
        for sae in some:
            peaks = found.get(sae.pk, {})
            n += len(peaks)
            keys: list[Key] = [(sae.pk, index) for index in peaks]
            size = queries.PAGE if asked.sae else FIRST
            shown = queries.strongest([sae], keys, asked.page if asked.sae else 1, size)
            seen = _excerpts(sae, [index for _, index in shown]) if asked.sae else {}
            rows = [Row(hit, None, tuple(peaks[hit.index]), seen.get(hit.index)) for hit in queries.hits([sae], shown)]
            if rows:
                groups.append(Group(rows, "" if asked.sae else sae.name, len(peaks), sae))
    told = {lm.vocabulary_id: (lm, tokens) for lm, tokens in by_lm if tokens}  # once where lms share a tokenizer
    return Found(groups, n, tokens=tuple(told.values()))


def _logit(asked: Asked, saes: Sequence[Sae]) -> Found:
    sae = asked.sae or usual(saes)
    by_lm = _meant_by_each(asked, [sae])
    _, tokens = by_lm[0]
    if not tokens:
        return _no_token(asked, [sae])
    try:
        found = directions.logits(sae, tokens[0], FOUND)
    except directions.NoLogits as why:
        return Found(problem=str(why), unprepared=isinstance(why, directions.Unprepared))
    groups = [_scored(sae, found.raised, "Raised most"), _scored(sae, found.lowered, "Lowered most")]
    return Found(groups, sae.n_latents, token=tokens[0], tokens=by_lm)


def _like(asked: Asked, saes: Sequence[Sae]) -> Found:
    """A feature's decoder direction, or a direction that is given, beside all of an SAE's."""
    sae = asked.sae or asked.of or usual(saes)
    of, index, vector = asked.of or sae, asked.index, asked.vector
    if vector is not None:
        if len(vector) != sae.d_out:
            return Found(problem=f"It has {len(vector):,} numbers, and features of {sae.name} have {sae.d_out:,}.")
        scored = directions.like(sae, vector, FOUND)
        return Found([_scored(sae, scored, "")], sae.n_latents)
    if index is None:
        return Found(problem="Give the index of a feature, or a direction as a JSON list of numbers.")
    if index >= of.n_latents:
        return Found(problem=f"{of.name} has features 0 to {of.n_latents - 1:,}.")
    if (of.lm_id, of.d_out) != (sae.lm_id, sae.d_out):
        return Found(problem=f"{of.name} and {sae.name} are not of one language model and width.")
    scored = directions.like(sae, directions.row(of, index), FOUND, but=index if of.pk == sae.pk else None)
    return Found([_scored(sae, scored, "")], sae.n_latents)


def _scored(sae: Sae, scored: list[Scored], title: str) -> Group:
    values = {each.index: each.value for each in scored}
    seen, hits = _excerpts(sae, values), queries.hits([sae], [(sae.pk, index) for index in values])
    rows = [Row(hit, values[hit.index], excerpt=seen.get(hit.index)) for hit in hits]
    return Group(rows, title, len(rows), sae)


def _excerpts(sae: Sae, indexes: Collection[int]) -> dict[int, Excerpt]:
    collection = library.newest(sae)
    if collection is None:
        return {}
    words, found = vocabulary.of(sae.lm), {}
    for index, glimpse in glimpses(collection, indexes).items():
        if strongest := glimpse.strongest:
            (found[index],) = excerpts(words, [strongest], around=AROUND, peak=strongest.value)
    return found


def _meant_by_each(asked: Asked, saes: Sequence[Sae]) -> tuple[tuple[LanguageModel, tuple[int, ...]], ...]:
    lms = {sae.lm_id: sae.lm for sae in saes}
    return tuple((lm, meant(lm, asked.token_text)) for lm in lms.values())


def _no_token(asked: Asked, saes: Sequence[Sae]) -> Found:
    names = sorted({sae.lm.name for sae in saes})
    of = names[0] if len(names) == 1 else "any language model here"
    return Found(problem=f"No token of {of} is “{asked.token_text}”. A token is a piece of a word, or #464 for its id.")


def pages(found: Found, asked: Asked) -> tuple[Asked | None, Asked | None]:
    """The pages before and after this one."""
    last = -(-found.n // queries.PAGE)
    before = replace(asked, page=asked.page - 1) if asked.page > 1 else None
    return before, replace(asked, page=asked.page + 1) if asked.page < last else None
