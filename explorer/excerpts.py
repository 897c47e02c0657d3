"""Examples as a page shows them: the text around a token, how strongly it fires, and where that stands."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.utils.safestring import SafeString

from explorer.markup import joined, written
from explorer.numbers import count, significant
from explorer.queries.features import FeaturePage, Shown
from explorer.tokens import Vocabulary, alone, render

PIECES = 3  # tokens of one character that may lie beyond a first


@dataclass(frozen=True, slots=True)
class Excerpt:
    value: float
    token: SafeString  # the one that it is an example of
    text: SafeString
    cut: tuple[bool, bool]  # whether the context goes on before and after
    document: str
    offset: int  # of that token in the document
    context: int
    position: int
    alike: "list[Excerpt]" = field(default_factory=list)  # the same tokens elsewhere, folded under the first of them

    @property
    def says(self) -> str:
        return significant(self.value)

    @property
    def marks(self) -> str:
        """Attributes of what holds its text."""
        return " data-before" * self.cut[0] + " data-after" * self.cut[1]

    @property
    def token_of_document(self) -> str:
        return count(self.offset)

    @property
    def place(self) -> str:
        where = f"context {count(self.context)}, position {self.position}"
        return f"token {self.token_of_document} of {self.document}; {where}"

    @property
    def name(self) -> str:
        """A document's, without the folders that it lies in."""
        return self.document.rstrip("/").rpartition("/")[2] or self.document


@dataclass(frozen=True, slots=True)
class Interval:
    """Of activations, with what was drawn from it."""

    low: float
    high: float
    of_maximum: tuple[float, float]
    n_fired: int
    share_of_firings: float
    share_of_mass: float
    excerpts: list[Excerpt]


@dataclass(frozen=True, slots=True)
class Lists:
    strip: list[Excerpt]
    top: list[Excerpt]
    distinct: list[Excerpt]
    intervals: list[Interval]  # the highest first
    near_misses: list[Excerpt]


def examples(vocabulary: Vocabulary, page: FeaturePage, around: int | None) -> Lists | None:
    """All lists of a feature, equally bright for equal activations."""
    found, peak = page.examples, page.activity.maximum if page.activity else None
    if found is None:
        return None

    made: Made = {}

    def shown(these: Iterable[Shown]) -> list[Excerpt]:
        return excerpts(vocabulary, these, around=around, peak=peak, made=made)

    highest = found.intervals[-1].high if found.intervals else 0.0
    intervals = [
        Interval(
            each.low,
            each.high,
            (each.low / highest, each.high / highest) if highest else (0.0, 0.0),
            each.n_fired,
            each.share_of_firings,
            each.share_of_mass,
            shown(each.shown),
        )
        for each in reversed(found.intervals)
    ]
    return Lists(shown(found.strip), shown(found.top), shown(found.distinct), intervals, shown(found.near_misses))


Made = dict[tuple[int, int, float], Excerpt]  # by context, position and value


def excerpts(
    vocabulary: Vocabulary,
    shown: Iterable[Shown],
    *,
    around: int | None,
    peak: float | None,
    made: Made | None = None,
) -> list[Excerpt]:
    """`around` tokens to both sides, None for whole contexts; as bright as they are beside `peak`. One example is in
    several lists of a page: those that are `made` need not be rendered again."""
    alike: dict[tuple[int, tuple[int, ...]], list[Excerpt]] = {}
    made = {} if made is None else made
    for each in shown:
        first, stop = _window(vocabulary, each, around)
        key = (each.context, each.position, each.value)
        if key not in made:
            made[key] = _excerpt(vocabulary, each, first, stop, peak)
        alike.setdefault((each.position - first, tuple(each.ids[first:stop])), []).append(made[key])
    return [replace(first, alike=others) if others else first for first, *others in alike.values()]


def as_list(excerpts: Iterable[Excerpt], *, whole: bool, pointed: bool = False) -> SafeString:
    """Written here, as a page has seventy of them: a template's loop over them takes longer than all else of the page.
    `pointed`: with the token that each is an example of, where that does not show."""
    items = joined("{}", ((_item(each, whole, pointed),) for each in excerpts))
    return written('<ol class="excerpts"{}>{}</ol>', "" if whole else " data-cut", items)


def _item(each: Excerpt, whole: bool, pointed: bool) -> SafeString:
    alike: SafeString | str = ""
    if each.alike:
        others = as_list(each.alike, whole=whole, pointed=pointed)
        summary = f"{len(each.alike)} more alike"
        alike = written('<details class="alike"><summary>{}</summary>{}</details>', summary, others)
    return written(
        '<li>\n<span class="value">{}</span>\n<div class="text"{}>{}</div>\n'
        '<span class="source" dir="auto" title="{}">{}{}<span class="unseen">, token {}</span></span>\n{}</li>',
        each.says,
        each.marks,
        each.text,
        each.place,
        written('<span class="unseen">at </span>{} ', each.token) if pointed else "",
        each.name,
        each.token_of_document,
        alike,
    )


def _excerpt(vocabulary: Vocabulary, shown: Shown, first: int, stop: int, peak: float | None) -> Excerpt:
    text = render(
        vocabulary,
        shown.ids[first:stop],
        shown.activations[first:stop],
        peak=peak,
        first=first,
        at=shown.position - first,
        label=f"{significant(shown.value)}, {shown.document}",
    )
    return Excerpt(
        value=shown.value,
        token=alone(vocabulary, shown.ids[shown.position]),
        text=text,
        cut=(first > 0, stop < len(shown.ids)),
        document=shown.document,
        offset=shown.offset,
        context=shown.context,
        position=shown.position,
    )


def _window(vocabulary: Vocabulary, shown: Shown, around: int | None) -> tuple[int, int]:
    """A little more where it would cut a character in two."""
    length = len(shown.ids)
    if around is None:
        return 0, length
    first, stop = max(0, shown.position - around), min(length, shown.position + around + 1)
    least, most = max(0, first - PIECES), min(length, stop + PIECES)
    while first > least and vocabulary.continues(shown.ids[first]):
        first -= 1
    while stop < most and vocabulary.continues(shown.ids[stop]):
        stop += 1
    return first, stop
