"""Scoring by programs: for a person, or as a model that is named. What is told of an item is what its page shows, and
nothing in it says what the item is of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

from django.core.exceptions import PermissionDenied
from ninja import P, PathEx, Query, Router, Schema
from ninja.errors import HttpError, ValidationError
from ninja.responses import Status
from pydantic import BeforeValidator, Field

from explorer.access import role_of
from explorer.actions import slots, staged
from explorer.actions.annotators import annotator_of, model_of
from explorer.api.auth import CallerRequest, needs
from explorer.api.lists import number
from explorer.api.studies import StudyId
from explorer.gates import item_to_score, study_to_score
from explorer.models import Annotator, Item, Study
from explorer.models.access import Role, Scope
from explorer.models.studies import Origin, SubjectKind
from explorer.plain import plain
from explorer.queries import scoring as queries
from explorer.scoring import seen, words_of
from explorer.studies.evidence import Evidence, Example
from explorer.studies.rubrics import MOST_CRITERIA, MOST_POINTS, WrongPoints, criteria_of
from explorer.tokens import Vocabulary

router = Router(tags=["scoring"])

reading = needs(Role.ANNOTATOR, Scope.READ)
giving = needs(Role.ANNOTATOR, Scope.WRITE)
ItemKey = PathEx[str, P(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of an item that was offered.")]
ModelName = Annotated[
    str | None,
    Field(min_length=1, max_length=200, description="Who scores, where it is no person: for researchers’ programs"),
]
PointsIn = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=MOST_POINTS), BeforeValidator(number)] | None],
    Field(max_length=MOST_CRITERIA, description="By criterion. Null: none yet, or it does not apply"),
]
Note = Annotated[str, Field(max_length=slots.LONGEST_NOTE)]


class ByWhom(Schema):
    model: ModelName = None


class HypothesisIn(ByWhom):
    hypothesis: Annotated[
        str, Field(max_length=slots.LONGEST_HYPOTHESIS, description="Empty: nothing that could be named")
    ]


class PointsDraftIn(ByWhom):
    points: PointsIn = {}
    note: Note = ""
    flagged: Annotated[bool, Field(strict=True)] = False


class ScoreIn(PointsDraftIn):
    form: Annotated[UUID | None, Field(description="As the item was told with: what is sent twice is one score")] = None


class SkipIn(ByWhom):
    reason: Annotated[str, Field(min_length=1, max_length=slots.LONGEST_REASON)]


class ScoredTextOut(Schema):
    """A text at one of whose tokens it fires, as strongly as the interval says."""

    tokens: list[str]
    shares: Annotated[list[float], Field(description="Of its strongest activation, by token")]
    at: Annotated[int, Field(description="Which token it is an example of")]
    goes_on: Annotated[tuple[bool, bool], Field(description="There is text before, and after")]


class ScoredIntervalOut(Schema):
    low: Annotated[int, Field(description="Percent of its strongest")]
    high: int
    texts: list[ScoredTextOut]


class ScoredTokenOut(Schema):
    text: str
    share: Annotated[float, Field(description="Of the largest effect")]


class ItemToScore(Schema):
    """As far as it may be seen: what a hypothesis is formed from; once there is one, further texts of the interval that
    is judged; once those are judged, the tokens that it raises."""

    key: str
    practice: bool
    interval: Annotated[int, Field(description="Which is judged, 0 the lowest")]
    first: Annotated[list[ScoredIntervalOut], Field(description="The strongest first")]
    second: ScoredIntervalOut | None
    raised: list[ScoredTokenOut] | None
    hypothesis: Annotated[str | None, Field(description="None: nothing was said yet")]
    points: Annotated[dict[str, int | None], Field(description="Of the draft")]
    fixed: Annotated[list[str], Field(description="Criteria that were judged before more was shown, and stay")]
    note: str
    flagged: bool
    scored: bool
    form: Annotated[UUID, Field(description="To be sent with the score")]


class NextOut(Schema):
    item: Annotated[ItemToScore | None, Field(description="None: nothing is left for you")]


class SeatOut(Schema):
    seated: Annotated[bool, Field(description="False: somebody else has the seat; a score would be an extra one")]


class KnownOut(Schema):
    points: dict[str, int | None]
    why: str


class ScoreOut(Schema):
    total: int
    points: dict[str, int | None]
    extra: Annotated[bool, Field(description="Beyond the seats that there are")]
    known: Annotated[KnownOut | None, Field(description="Of practice, what it should be given")]


class UndoneOut(Schema):
    key: Annotated[str, Field(description="Of the item that is yours to score again")]


@router.post("/{row:study_id}/next", response=NextOut, summary="Claim the next item", **giving)
def claim_item(request: CallerRequest, study_id: StudyId, sent: ByWhom) -> Any:
    """The same again until it is scored, skipped or left. Asked for a while after, the seat may be another’s."""
    study, me = study_to_score(study_id), _annotator(request, sent.model)
    with _told():
        item = slots.claim(study, me)
    return {"item": _item(queries.item_offered(study.pk, item.key, me), me) if item else None}


@router.get("/{row:study_id}/scoring/{token:key}", response=ItemToScore, summary="An item to score", **reading)
def get_item_to_score(request: CallerRequest, study_id: StudyId, key: ItemKey, wanted: Query[ByWhom]) -> Any:
    me = _annotator(request, wanted.model)
    return _item(item_to_score(study_id, key, me), me)


@router.put("/{row:study_id}/scoring/{token:key}/draft", response=SeatOut, summary="Keep a draft", **giving)
def save_draft(request: CallerRequest, study_id: StudyId, key: ItemKey, sent: PointsDraftIn) -> Any:
    """Which renews the seat."""
    item, me = _offered(request, study_id, key, sent)
    with _told():
        _check_names(item, sent.points)
    given = {"points": sent.points, "note": plain(sent.note), "flagged": sent.flagged}
    return {"seated": staged.keep(item, me, given) or item.subject.kind == SubjectKind.PRACTICE}


@router.put("/{row:study_id}/scoring/{token:key}/hypothesis", response=ItemToScore, summary="Say what it is", **giving)
def say_hypothesis(request: CallerRequest, study_id: StudyId, key: ItemKey, sent: HypothesisIn) -> Any:
    """Where a study is staged, what is said first stays, and more is shown from then on."""
    item, me = _offered(request, study_id, key, sent)
    slots.say(item, me, sent.hypothesis)
    return _item(item, me)


@router.post("/{row:study_id}/scoring/{token:key}/reveal", response=ItemToScore, summary="See what it raises", **giving)
def reveal_raised(request: CallerRequest, study_id: StudyId, key: ItemKey, sent: PointsDraftIn) -> Any:
    """Once all is judged that is judged from texts; these points stay."""
    item, me = _offered(request, study_id, key, sent)
    with _told():
        _check_names(item, sent.points)
        staged.reveal(item, me, sent.points)
    return _item(item, me)


@router.post("/{row:study_id}/scoring/{token:key}/score", response=ScoreOut, summary="Score an item", **giving)
def score_item(request: CallerRequest, study_id: StudyId, key: ItemKey, sent: ScoreIn) -> Any:
    """Without anything that could be named all points are 0, whatever is sent."""
    item, me = _offered(request, study_id, key, sent)
    with _told():
        score = staged.give(
            item, me, sent.points, sent.form or uuid4(), note=sent.note, flagged=sent.flagged, origin=Origin.API
        )
    practice = item.subject.kind == SubjectKind.PRACTICE
    return {
        **{name: getattr(score, name) for name in ("total", "points", "extra")},
        "known": item.known if practice else None,
    }


@router.post("/{row:study_id}/scoring/{token:key}/skip", response={204: None}, summary="Skip an item", **giving)
def skip_item(request: CallerRequest, study_id: StudyId, key: ItemKey, sent: SkipIn) -> Any:
    """It is not offered again."""
    item, me = _offered(request, study_id, key, sent)
    with _told():
        slots.skip(item, me, sent.reason)
    return Status(204, None)


@router.post("/{row:study_id}/undo", response=UndoneOut, summary="Take back the last score", **giving)
def undo_score(request: CallerRequest, study_id: StudyId, sent: ByWhom) -> Any:
    """As long as the study is open."""
    study, me = study_to_score(study_id), _annotator(request, sent.model)
    with _told():
        return {"key": slots.undo(study, me).key}


@router.post("/{row:study_id}/leave", response={204: None}, summary="Give up your seat", **giving)
def leave_study(request: CallerRequest, study_id: StudyId, sent: ByWhom) -> Any:
    """Drafts stay."""
    slots.leave(study_to_score(study_id), _annotator(request, sent.model))
    return Status(204, None)


def _annotator(request: CallerRequest, model: str | None) -> Annotator:
    """The caller, or a model in whose name they score."""
    caller = request.auth.signed_in
    if model is None:
        return annotator_of(caller)
    if not role_of(caller).may_research:
        raise PermissionDenied
    return model_of(model)


def _offered(request: CallerRequest, study_id: int, key: str, sent: ByWhom) -> tuple[Item, Annotator]:
    me = _annotator(request, sent.model)
    return item_to_score(study_id, key, me), me


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong, as the API says it."""
    try:
        yield
    except WrongPoints as why:
        wrong = [{"loc": ("body", "sent", "points", key), "msg": says} for key, says in why.wrong.items()]
        raise ValidationError(wrong) from None
    except slots.NotPossible as why:
        raise HttpError(409, str(why)) from None


def _check_names(item: Item, points: dict[str, int | None]) -> None:
    known = {each.key for each in criteria_of(item.subject.study.rubric.criteria)}
    if wrong := {key: f"There is no criterion {key}." for key in points if key not in known}:
        raise WrongPoints(wrong)


def _item(item: Item | None, me: Annotator) -> dict[str, Any]:
    assert item is not None
    study: Study = item.subject.study
    now, evidence = queries.standing(item, me), Evidence.of(item.subject.evidence)
    words, said = words_of(evidence, study.lm), now.hypothesis
    all_at_once = not study.staged
    first, second = seen(evidence, item.interval, staged=study.staged)
    raised = all_at_once or (now.revealed and said is not None and bool(said.text))
    top = len(evidence.intervals) - 1
    return {
        "key": item.key,
        "practice": item.subject.kind == SubjectKind.PRACTICE,
        "interval": item.interval,
        "first": [_interval(words, examples, top - place) for place, examples in enumerate(first)],
        "second": _interval(words, second, item.interval) if all_at_once or said is not None else None,
        "raised": _raised(words, evidence) if raised else None,
        "hypothesis": said.text if said else None,
        "points": now.given["points"],
        "fixed": sorted(now.given.get("fixed") or {}),
        "note": now.given.get("note", ""),
        "flagged": bool(now.given.get("flagged")),
        "scored": now.scored is not None,
        "form": uuid4(),
    }


def _interval(words: Vocabulary, examples: Sequence[Example], interval: int) -> dict[str, Any]:
    return {
        "low": 20 * interval,
        "high": 20 * (interval + 1),
        "texts": [
            {"tokens": words.text(each.ids), "shares": each.activations, "at": each.at, "goes_on": each.cut}
            for each in examples
        ],
    }


def _raised(words: Vocabulary, evidence: Evidence) -> list[dict[str, Any]]:
    texts = words.text([token for token, _ in evidence.raised])
    return [{"text": text, "share": share} for text, (_, share) in zip(texts, evidence.raised, strict=True)]
