"""A study from a file: with its items, and all that was given them elsewhere."""

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models.functions import Now

from explorer.actions import feature_scores
from explorer.models import Adjudication, Annotator, Hypothesis, Item, Rubric, Sae, Score, Slot, Study, Subject
from explorer.models.studies import Origin, StudyState
from explorer.queries.whole_studies import FORM, PLAIN
from explorer.studies import rubrics
from explorer.studies.rubrics import criteria_of

KEY_BYTES = 9


class NotPossible(Exception):
    """Why, for the person who asked."""


def bring(sae: Sae, row: Mapping[str, Any]) -> Study:
    """Closed, and seen by everybody; one that is there by that name is left as it is."""
    if row["form"] != FORM:
        raise NotPossible(f"The study is of form {row['form']}; this release reads {FORM}.")
    with transaction.atomic():
        Sae.objects.select_for_update(no_key=True).get(pk=sae.pk)  # two at once bring it once
        known = Study.objects.filter(sae=sae, name=row["name"]).first()
        if known:
            return known
        study = Study.objects.create(
            name=row["name"], sae=sae, lm_id=sae.lm_id, rubric=_rubric(row["rubric"]), state=StudyState.CLOSED,
            shown=True, opened_at=Now(), closed_at=Now(), **{name: row[name] for name in PLAIN},
        )  # fmt: skip
        subjects: dict[int, Subject] = {}
        for each in row["subjects"]:
            subjects[each["number"]] = _subject(study, sae, each)
        for each in row["subjects"]:
            if each["pair"] is not None:
                Subject.objects.filter(pk=subjects[each["number"]].pk).update(pair=subjects[each["pair"]])
        feature_scores.refresh(sae.pk)
    return study


def _rubric(row: Mapping[str, Any]) -> Rubric:
    """That version, which says the same everywhere."""
    rest = {name: row[name] for name in ("name", "criteria", "line", "guidelines")}
    found, _ = Rubric.objects.get_or_create(slug=row["slug"], version=row["version"], defaults=rest)
    if criteria_of(found.criteria) != criteria_of(row["criteria"]) or found.line != row["line"]:
        raise NotPossible(f"There is another rubric here called {found}, so its scores cannot be brought.")
    return found


def _subject(study: Study, sae: Sae, row: Mapping[str, Any]) -> Subject:
    of_sae = row["kind"] == "feature"
    made = Subject.objects.create(
        study=study, number=row["number"], kind=row["kind"], sae=sae if of_sae else None,
        index=row["index"] if of_sae else None, about=row["about"], density=row["density"], evidence=row["evidence"],
    )  # fmt: skip
    for each in row["items"]:
        item = Item.objects.create(
            subject=made, interval=each["interval"], known=each["known"], key=secrets.token_urlsafe(KEY_BYTES)
        )
        for seat, given in enumerate(each["scores"]):
            _score(study, item, seat, given)
    Adjudication.objects.bulk_create(Adjudication(subject=made, **each) for each in row["adjudications"])
    return made


def _score(study: Study, item: Item, seat: int, row: Mapping[str, Any]) -> None:
    annotator, _ = Annotator.objects.get_or_create(name=row["annotator"], is_model=row["is_model"], user=None)
    said = row["hypothesis"]
    Hypothesis.objects.get_or_create(subject=item.subject, annotator=annotator, defaults={"text": said})
    criteria = criteria_of(study.rubric.criteria)
    points = rubrics.judged(criteria, {key: value for key, value in row["points"].items() if value is not None})
    Score.objects.create(
        item=item, annotator=annotator, rubric=study.rubric, points=points, total=rubrics.total(points),
        hypothesis=said, note=row["note"], flagged=row["flagged"], seconds=row["seconds"], origin=Origin.IMPORT,
        form=uuid4(),
    )  # fmt: skip
    Slot.objects.create(study=study, item=item, seat=seat, annotator=annotator, claimed_at=Now(), filled_at=Now())
