"""Points given in stages: what was judged before what an item raises was shown stays as it was then."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from explorer.actions import slots
from explorer.models import Annotator, Item, Score
from explorer.models.studies import Origin
from explorer.queries.scoring import draft, standing
from explorer.studies import rubrics
from explorer.studies.rubrics import Stage, criteria_of


def keep(item: Item, annotator: Annotator, given: Mapping[str, Any]) -> bool:
    """A draft; whether they have a seat for it."""
    kept = {name: value for name, value in draft(item, annotator).items() if name in ("revealed", "fixed")}
    return slots.save(item, annotator, {**given, **kept})


def reveal(item: Item, annotator: Annotator, points: Mapping[str, Any]) -> None:
    """What it raises, once all is judged that is judged without; shown once, points for that stay. Raises
    WrongPoints."""
    now = standing(item, annotator)
    if now.hypothesis is None:
        raise slots.NotPossible("Nothing is said yet of what this is. Say it first.")
    if now.given.get("revealed"):
        return
    before = [each for each in criteria_of(item.subject.study.rubric.criteria) if each.stage == Stage.EXAMPLES]
    given = {each.key: points[each.key] for each in before if each.key in points}
    fixed = rubrics.judged(before, given)
    slots.save(item, annotator, {**now.given, "points": now.given["points"] | fixed, "revealed": True, "fixed": fixed})


def give(
    item: Item,
    annotator: Annotator,
    points: Mapping[str, Any],
    form: UUID,
    *,
    note: str = "",
    flagged: bool = False,
    origin: Origin = Origin.PAGE,
) -> Score:
    """Raises WrongPoints. In a staged study nothing is given before what it raises was looked at, unless nothing could
    be said of it."""
    kept = draft(item, annotator)
    if item.subject.study.staged and not kept.get("revealed") and _is_to_look(item, annotator, form):
        raise slots.NotPossible("What it raises is not looked at yet. Judge the examples, and have it shown first.")
    fixed = kept.get("fixed") or {}
    return slots.submit(item, annotator, {**points, **fixed}, form, note=note, flagged=flagged, origin=origin)


def _is_to_look(item: Item, annotator: Annotator, form: UUID) -> bool:
    now = standing(item, annotator)
    named = now.hypothesis is not None and bool(now.hypothesis.text)
    sent = Score.objects.filter(item=item, annotator=annotator, form=form)
    return named and not now.revealed and not sent.exists()
