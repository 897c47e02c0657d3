"""An item as whoever scores it sees it: the same for a feature and for a control, and nothing of who it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from explorer import vocabulary
from explorer.markup import joined, written
from explorer.models import Item, LanguageModel
from explorer.queries.scoring import Standing
from explorer.studies.evidence import Evidence, Example
from explorer.studies.rubrics import Criterion, Stage
from explorer.tokens import Vocabulary, alone, render

FIRST, SECOND = 0, 1  # halves
TEXT = '<li><div class="text"{}{}>{}</div></li>'
RAISED = '<tr><td>{}</td><td class="effect"><meter min="0" max="1" value="{}">{}</meter></td></tr>'


@dataclass(frozen=True, slots=True)
class Group:
    """Texts from one interval."""

    low: int  # percent of its strongest
    high: int
    texts: SafeString
    n: int


@dataclass(frozen=True, slots=True)
class Shown:
    first: list[Group]  # of every interval, the strongest first: what a hypothesis is formed from
    second: Group  # further ones of the item's own interval
    raised: SafeString
    n_raised: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A criterion, and what somebody gives it so far."""

    criterion: Criterion
    number: int
    value: int | None
    wrong: str
    fixed: bool  # it was judged before what it raises was shown, and stays

    @property
    def choices(self) -> list[tuple[int, str]]:
        return list(enumerate(self.criterion.anchors))


def asked(criteria: Sequence[Criterion], standing: Standing, wrong: Mapping[str, str]) -> list[Asked]:
    """In the order in which they are answered: those about what is shown first come first."""
    ordered = sorted(criteria, key=lambda each: each.stage != Stage.EXAMPLES)
    fixed = standing.given.get("fixed") or {}
    points = standing.given["points"] | fixed
    return [
        Asked(each, number, points.get(each.key), wrong.get(each.key, ""), each.key in fixed)
        for number, each in enumerate(ordered, 1)
    ]


def shown(item: Item, lm: LanguageModel, *, staged: bool) -> Shown:
    """`staged`: the second half is kept back; else all is there at once, and the item's interval once more."""
    evidence = Evidence.of(item.subject.evidence)
    words = words_of(evidence, lm)
    first, second = seen(evidence, item.interval, staged=staged)
    top = len(evidence.intervals) - 1
    groups = [_group(words, examples, top - number) for number, examples in enumerate(first)]
    rows = ((alone(words, token), f"{value:.3g}", f"{round(100 * value)} %") for token, value in evidence.raised)
    return Shown(groups, _group(words, second, item.interval), joined(RAISED, rows), len(evidence.raised))


def seen(evidence: Evidence, interval: int, *, staged: bool) -> tuple[list[list[Example]], list[Example]]:
    """What a hypothesis is formed from, the strongest first, and what it is held against."""
    if staged:
        return evidence.half(FIRST), evidence.half(SECOND, interval)[0]
    return evidence.intervals[::-1], evidence.intervals[interval]


def words_of(evidence: Evidence, lm: LanguageModel) -> Vocabulary:
    """Practice has tokens of its own."""
    return vocabulary.of(lm) if evidence.texts is None else Vocabulary([text.encode() for text in evidence.texts])


def _group(words: Vocabulary, examples: Sequence[Example], interval: int) -> Group:
    rows = (
        (
            written(" data-before" * each.cut[0]),
            written(" data-after" * each.cut[1]),
            render(words, each.ids, each.activations, peak=1.0, at=each.at, label="Example"),
        )
        for each in examples
    )
    return Group(20 * interval, 20 * (interval + 1), joined(TEXT, rows), len(examples))
