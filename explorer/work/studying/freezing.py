"""From what was collected to what annotators see: of a feature's rows, and of a control's evidence, in the same way."""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from explorer.models import Corpus
from explorer.packed.examples import Item, Unpacked
from explorer.packed.feature import Lens
from explorer.queries import contexts as context_queries
from explorer.queries.contexts import ContextText
from explorer.studies.evidence import AROUND, MOST, RAISED, Evidence, Example

DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """All that evidence is made of."""

    unpacked: Unpacked
    lens: Lens | None
    maximum: float


def evidence(corpus: Corpus, seen: Seen, random: Random) -> Evidence:
    """Examples drawn from each interval, and of the strongest those that lie in it, in an order that says nothing."""
    items = _by_interval(seen)
    texts = context_queries.contexts(corpus, {item.example.context for interval in items for item in interval})
    intervals = []
    for interval in items:
        random.shuffle(interval)
        intervals.append([_example(texts[item.example.context], item, seen.maximum) for item in interval])
    return Evidence(intervals, _raised(seen.lens))


def shuffled(one: Evidence, other: Evidence, random: Random) -> Evidence:
    """The same texts, in which as many tokens light up as strongly, anywhere; what it raises is another's."""
    return Evidence([[_elsewhere(each, random) for each in interval] for interval in one.intervals], other.raised)


def _by_interval(seen: Seen) -> list[list[Item]]:
    found = [_distinct(interval.items)[:MOST] for interval in seen.unpacked.intervals]
    bounds = [interval.low for interval in seen.unpacked.intervals]
    for item in seen.unpacked.distinct:
        number = max((each for each, low in enumerate(bounds) if item.value >= low), default=None)
        if number is not None and len(found[number]) < MOST and not _there(item, found):
            found[number].append(item)
    return found


def _distinct(items: Iterable[Item]) -> list[Item]:
    """One a context: two would show the same text twice."""
    return list({item.example.context: item for item in items}.values())


def _there(item: Item, intervals: Iterable[Iterable[Item]]) -> bool:
    return any(item.example.context == each.example.context for interval in intervals for each in interval)


def _example(text: ContextText, item: Item, maximum: float) -> Example:
    first, stop = max(0, item.position - AROUND), min(len(text.ids), item.position + AROUND + 1)
    acts = [
        (position - first, round(value / maximum, DECIMALS))
        for position, value in item.example.firings
        if first <= position < stop
    ]
    return Example(text.ids[first:stop], item.position - first, acts, (first > 0, stop < len(text.ids)))


def _raised(lens: Lens | None) -> list[tuple[int, float]]:
    """Those above zero."""
    top = [(token, value) for token, value in lens.top[:RAISED] if value > 0] if lens else []
    return [(token, round(value / top[0][1], DECIMALS)) for token, value in top]


def _elsewhere(example: Example, random: Random) -> Example:
    places = random.sample(range(len(example.ids)), len(example.acts))
    acts = sorted((place, value) for place, (_, value) in zip(places, example.acts, strict=True))
    strongest = max(acts, key=lambda each: each[1])[0] if acts else example.at
    return Example(example.ids, strongest, acts, example.cut)
