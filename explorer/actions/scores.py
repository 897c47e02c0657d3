"""Scores that come from elsewhere, and those that are taken along."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from explorer.actions import feature_scores
from explorer.actions.annotators import annotator_of, model_of
from explorer.actions.audit import Action, note
from explorer.models import Annotator, Score, Study
from explorer.models.studies import Origin
from explorer.studies import rubrics
from explorer.studies.rubrics import Points

MOST_TOLD = 20  # lines that are wrong


class Conflicting(Exception):
    """Why nothing was kept: lines that say something else than what is there."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Brought:
    """A score, as a line of a file has it."""

    line: int
    item: int
    annotator: str
    is_model: bool
    points: Points
    hypothesis: str
    note: str
    flagged: bool
    seconds: float | None


def bring(study: Study, brought: Sequence[Brought], *, by: User, address: str) -> int:
    """All of a file's or none of them, each beyond the seats that there are; how many were news. What somebody gave
    just so before is none. Raises Conflicting."""
    with transaction.atomic():
        found = Study.objects.select_for_update().filter(pk=study.pk).first()
        if found is None:
            raise Conflicting(["This study has just been removed."])
        who = _annotators(brought)
        # Whoever scores just now waits, or is through.
        list(Annotator.objects.select_for_update(no_key=True).filter(pk__in=set(who.values())).order_by("pk"))
        news = _news(study, brought, who)
        Score.objects.bulk_create([_score(study, each, who[_key(each)]) for each in news], batch_size=1_000)
        if news:
            Study.objects.filter(pk=study.pk).update(edition=F("edition") + 1)
            feature_scores.changed(found)
        details = {"study": study.pk, "scores": len(brought), "news": len(news)}
        note(Action.SCORES_IMPORTED, study.name, by=by, address=address, details=details)
    return len(news)


def taken_along(study: Study, form: str, *, by: User, address: str, details: dict[str, Any] | None = None) -> None:
    """Notes that somebody has them, with the names of annotators."""
    about = {"study": study.pk, "form": form} | (details or {})
    note(Action.SCORES_EXPORTED, study.name, by=by, address=address, details=about)


def _key(each: Brought) -> tuple[bool, str]:
    return each.is_model, each.annotator


def _annotators(brought: Iterable[Brought]) -> dict[tuple[bool, str], int]:
    """Whoever has an account under a name is meant by it; others are known by their name alone."""
    wanted = dict.fromkeys(map(_key, brought))
    people = [name for is_model, name in wanted if not is_model]
    users = {user.username: user for user in User.objects.filter(username__in=people)}
    return {
        (is_model, name): (
            model_of(name) if is_model else annotator_of(users[name]) if name in users else _nobody(name)
        ).pk
        for is_model, name in wanted
    }  # fmt: skip


def _nobody(name: str) -> Annotator:
    """A person without an account."""
    q = Annotator.objects.filter(user=None, is_model=False, name=name).order_by("pk")
    return q.first() or Annotator.objects.create(name=name)


def _news(study: Study, brought: Sequence[Brought], who: dict[tuple[bool, str], int]) -> list[Brought]:
    q = Score.objects.filter(item__subject__study=study, annotator__in=set(who.values()), current=True)
    there = {(each.item_id, each.annotator_id): each for each in q}
    news, faults = [], []
    for each in brought:
        before = there.get((each.item, who[_key(each)]))
        if before is None:
            news.append(each)
        elif (before.points, before.hypothesis) != (each.points, each.hypothesis):
            faults.append(f"Line {each.line}: {each.annotator} has scored this item otherwise already.")
    if faults:
        raise Conflicting(faults[:MOST_TOLD] + ["There are more."] * (len(faults) > MOST_TOLD))
    return news


def _score(study: Study, each: Brought, annotator: int) -> Score:
    return Score(
        item_id=each.item,
        annotator_id=annotator,
        rubric_id=study.rubric_id,
        points=each.points,
        total=rubrics.total(each.points),
        hypothesis=each.hypothesis,
        note=each.note,
        flagged=each.flagged,
        seconds=each.seconds,
        origin=Origin.IMPORT,
        extra=True,
        form=uuid4(),
    )
