"""Studies and what came out of them. Nothing of that is told to whoever still annotates in one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from django.urls import reverse
from ninja import P, PathEx, Query, Router, Schema
from pydantic import Field

from explorer.access import READERS, may_see_results, role_of
from explorer.api.auth import CallerRequest, needs
from explorer.api.keyset import BIGGEST, Page, Place, cursor
from explorer.gates import results_to_see, study_to_know
from explorer.models import Study
from explorer.models.access import Scope
from explorer.models.studies import StudyState, SubjectKind
from explorer.queries import results as queries
from explorer.results import study as results
from explorer.results.agreement import figures
from explorer.results.annotators import AnnotatorResult
from explorer.results.items import ItemResult
from explorer.results.study import Results
from explorer.studies import rubrics
from explorer.studies.rubrics import Criterion, Scale, Stage, criteria_of

router = Router(tags=["studies"])

reading = needs(READERS, Scope.READ)
StudyId = PathEx[int, P(ge=1, le=BIGGEST, description="As in its page’s address.")]


class CriterionOut(Schema):
    key: str
    title: str
    asks: str
    anchors: Annotated[list[str], Field(description="Of 0 points and on, what each stands for")]
    stage: Annotated[Stage, Field(description="From which evidence it is judged")]
    scale: Scale
    unless: Annotated[str, Field(description="It does not apply where this other one has full marks. Empty: always")]


class RubricOut(Schema):
    slug: str
    version: int
    name: str
    line: Annotated[int, Field(description="A total above it counts as interpretable")]
    most: Annotated[int, Field(description="The highest total that there is")]
    criteria: list[CriterionOut]


class StudyRow(Schema):
    """Features that people and models score, without knowing them."""

    id: int
    name: str
    state: StudyState
    staged: Annotated[bool, Field(description="A hypothesis is fixed before the rest of the evidence is shown")]
    rubric: Annotated[str, Field(description="And its version")]
    shown: Annotated[bool, Field(description="Everybody may see its results")]
    created_at: datetime
    closed_at: datetime | None

    @staticmethod
    def resolve_rubric(study: Study) -> str:
        return f"{study.rubric.slug} {study.rubric.version}"


class StudyAbout(Schema):
    """What it is of."""

    sae: str
    sample: Annotated[dict[str, Any], Field(description="How features were chosen")]
    controls: Annotated[dict[str, int], Field(description="Of each kind how many")]
    intervals: Annotated[list[int], Field(description="Of each feature’s maximum, 0 the lowest fifth")]
    per_item: Annotated[int, Field(description="Annotators")]
    seed: int
    created_by: str | None
    results: Annotated[str, Field(description="The page that shows them")]


class StudyOut(Schema):
    id: int
    name: str
    state: StudyState
    staged: bool
    rubric: RubricOut
    guidelines: Annotated[str, Field(description="Markdown")]
    shown: bool
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    about: Annotated[StudyAbout | None, Field(description="None to whoever annotates in it, or might")]


class EstimateOut(Schema):
    value: float
    low: Annotated[float | None, Field(description="With 95 %; resampled are features")]
    high: float | None
    why: Annotated[str, Field(description="There is no interval")]


class KindOut(Schema):
    """Features, or one kind of control. An item’s total is the mean of what its annotators gave."""

    kind: SubjectKind
    n: Annotated[int, Field(validation_alias="n_subjects")]
    n_items: int
    n_scored: int
    n_scores: int
    median: EstimateOut | None
    above: Annotated[EstimateOut | None, Field(description="The share above the line")]
    totals: Annotated[list[int], Field(description="Items with 0, with more than that up to 1, and on")]


class AgreementFigureOut(Schema):
    of: str
    criterion: Annotated[str | None, Field(description="Its key, where it is of one")]
    measure: str
    value: Annotated[float | None, Field(description="None: undefined, and why says why")]
    low: float | None
    high: float | None
    why: str
    n_items: int
    n_features: int
    n_annotators: int
    n_values: int


class AgreementOut(Schema):
    agreement: list[AgreementFigureOut]
    agreement_of_features: Annotated[
        list[AgreementFigureOut] | None, Field(description="As if there were no controls; None where there are none")
    ]


class StudyAnnotatorOut(Schema):
    """Pairs are of one’s score and another’s of the same item; gold items are those whose answer is known."""

    number: int
    name: Annotated[str | None, Field(description="Told to researchers")]
    is_model: bool
    n: int
    n_extra: int
    n_flagged: int
    n_skipped: int
    pace: Annotated[float | None, Field(description="The median of seconds")]
    mean: float | None
    n_pairs: int
    difference: Annotated[float | None, Field(description="The mean distance of totals")]
    same_side: Annotated[float | None, Field(description="The share of pairs on one side of the line")]
    n_gold: int
    gold_same_side: float | None
    gold_difference: Annotated[float | None, Field(description="The mean distance of points")]


class ConflictsOut(Schema):
    """Of what annotators agree on which side of the line it is, whether what they say of it means the same."""

    n_agreed: int
    n_alike: Annotated[int, Field(description="Said to be the same word for word")]
    same: int
    partly: int
    different: int
    open: Annotated[int, Field(description="Still to be judged")]


class ResultsOut(Schema):
    id: int
    name: str
    state: StudyState
    line: int
    most: int
    n_items: int
    n_scored: int
    n_scores: int
    n_extra: Annotated[int, Field(description="Beyond the seats: late, or brought from elsewhere")]
    kinds: list[KindOut]
    annotators: list[StudyAnnotatorOut]
    conflicts: ConflictsOut


class ItemScoreOut(Schema):
    annotator: Annotated[int, Field(description="The number, as results have it")]
    total: int
    points: Annotated[dict[str, int | None], Field(description="By criterion. Null: it does not apply")]
    hypothesis: Annotated[str, Field(description="Empty: none could be formed")]
    flagged: bool
    extra: bool


class StudyItemOut(Schema):
    key: str
    kind: SubjectKind
    sae: Annotated[str | None, Field(description="Where it is of a latent of one in the library")]
    index: int | None
    interval: int
    mean: float | None
    spread: Annotated[int | None, Field(description="Of totals. None: fewer than two scores")]
    above: Annotated[int, Field(description="Scores above the line")]
    scores: list[ItemScoreOut]


@router.get("", response=Page[StudyRow], summary="Studies, newest first", **reading)
def list_studies(request: CallerRequest, wanted: Query[Place]) -> Any:
    """Open ones to whoever may annotate, those that are shown to everybody, all to researchers."""
    found, older = queries.listed(request.auth.user, wanted.below, wanted.limit)
    return {"items": found, "next": cursor(older)}


@router.get("/{row:study_id}", response=StudyOut, summary="One study", **reading)
def get_study(request: CallerRequest, study_id: StudyId) -> Any:
    user = request.auth.user
    study = study_to_know(user, study_id)
    blind = study.state == StudyState.OPEN and queries.annotates(study.pk, user)
    names = ("name", "state", "staged", "guidelines", "shown", "created_at", "opened_at", "closed_at")
    return {
        "id": study.pk,
        **{name: getattr(study, name) for name in names},
        "rubric": _rubric(study),
        "about": _about(study) if may_see_results(user, study) and not blind else None,
    }


@router.get("/{row:study_id}/results", response=ResultsOut, summary="What came out of a study", **reading)
def get_results(request: CallerRequest, study_id: StudyId) -> Any:
    study = results_to_see(request.auth.user, study_id)
    found, skips = results.of(study), queries.skips(study.pk)
    named = role_of(request.auth.user).may_research
    return {
        "id": study.pk,
        "name": study.name,
        "state": study.state,
        "n_items": len(found.items),
        **{name: getattr(found, name) for name in ("line", "most", "n_scored", "n_scores", "n_extra", "kinds")},
        "annotators": [_annotator(each, named, skips.get(each.pk, 0)) for each in found.annotators],
        "conflicts": _conflicts(found),
    }


@router.get("/{row:study_id}/agreement", response=AgreementOut, summary="How far annotators agree", **reading)
def get_agreement(request: CallerRequest, study_id: StudyId) -> Any:
    return figures(results.of(results_to_see(request.auth.user, study_id)))


@router.get("/{row:study_id}/items", response=Page[StudyItemOut], summary="A study’s items, with scores", **reading)
def list_study_items(request: CallerRequest, study_id: StudyId, wanted: Query[Place]) -> Any:
    found = results.of(results_to_see(request.auth.user, study_id))
    start = wanted.below or 0
    end = start + wanted.limit
    numbers = {each.pk: each.number for each in found.annotators}
    items = [_item(each, numbers) for each in found.items[start:end]]
    return {"items": items, "next": cursor(end if end < len(found.items) else None)}


def _rubric(study: Study) -> dict[str, Any]:
    criteria: Sequence[Criterion] = criteria_of(study.rubric.criteria)
    names = ("slug", "version", "name", "line")
    of_row = {name: getattr(study.rubric, name) for name in names}
    return of_row | {"most": rubrics.most(criteria), "criteria": criteria}


def _about(study: Study) -> dict[str, Any]:
    return {
        "sae": study.sae.slug,
        **{name: getattr(study, name) for name in ("sample", "controls", "intervals", "per_item", "seed")},
        "created_by": study.created_by.username if study.created_by else None,
        "results": reverse("study_results", args=[study.pk]),
    }


def _annotator(each: AnnotatorResult, named: bool, skipped: int) -> dict[str, Any]:
    wanted = [name for name in StudyAnnotatorOut.model_fields if name not in ("name", "n_skipped")]
    of_each = {name: getattr(each, name) for name in wanted}
    return of_each | {"name": each.name if named else None, "n_skipped": skipped}


def _conflicts(found: Results) -> dict[str, int]:
    conflicts = found.conflicts
    counts = {name: getattr(conflicts, name) for name in ("n_agreed", "n_alike", "open")}
    return counts | conflicts.judged


def _item(each: ItemResult, numbers: dict[int, int]) -> dict[str, Any]:
    row = each.row
    return {
        **{name: getattr(row, name) for name in ("key", "kind", "sae", "index", "interval")},
        **{name: getattr(each, name) for name in ("mean", "spread", "above")},
        "scores": [
            {"annotator": numbers[given.annotator]}
            | {name: getattr(given, name) for name in ("total", "points", "hypothesis", "flagged", "extra")}
            for given in each.given
        ],
    }
