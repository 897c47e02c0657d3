"""Scoring: a study's next item, and what somebody gives it. Nothing here says what an item is of."""

from collections.abc import Callable
from functools import wraps
from uuid import uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import scoring
from explorer.access import allow
from explorer.actions import slots, staged
from explorer.actions.annotators import annotator_of
from explorer.forms.scoring import REASONS, DraftForm, PointsForm, SayForm, SkipForm
from explorer.gates import item_to_score, signed_in, study_to_score
from explorer.models import Annotator, Item, Score, Study
from explorer.models.access import Role
from explorer.models.studies import StudyState, SubjectKind
from explorer.queries import scoring as queries
from explorer.queries.scoring import Standing
from explorer.studies import rubrics
from explorer.studies.rubrics import WrongPoints, criteria_of

OfItem = Callable[[HttpRequest, int, str], HttpResponse]


def sent(view: OfItem) -> OfItem:
    """For what a form on an item's page sends. Whoever comes back to its address, from signing in, is on that page."""

    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def answer(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
        if request.method == "POST":
            return view(request, study_id, key)
        item, _ = _item(request, study_id, key)
        return redirect("score_item", study_id, item.key)

    return answer


@allow(Role.ANNOTATOR)
@require_safe
def score(request: HttpRequest) -> HttpResponse:
    me = annotator_of(signed_in(request))
    ctx = {"studies": [(study, queries.progress(study, me)) for study in queries.open_studies()]}
    return render(request, "score/studies.html", ctx)


@allow(Role.ANNOTATOR)
@require_safe
def score_study(request: HttpRequest, study_id: int) -> HttpResponse:
    study, me = study_to_score(study_id), annotator_of(signed_in(request))
    done, practice = queries.practised(study, me)
    ctx = {
        "study": study,
        "is_open": study.state == StudyState.OPEN,
        "progress": queries.progress(study, me),
        "practice": practice - done,
        "skipped": queries.skipped(study, me),
        "may_claim": queries.may_claim(study, me),
        "may_take_back": queries.may_take_back(study, me),
    }
    return render(request, "score/study.html", ctx)


@allow(Role.ANNOTATOR)
@require_POST
def score_next(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    return _next(study_to_score(study_id), annotator_of(signed_in(request)))


@allow(Role.ANNOTATOR)
@require_safe
def score_item(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    item, me = _item(request, study_id, key)
    return _shown(request, item, me)


@allow(Role.ANNOTATOR)
@sent
def score_say(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    """What somebody takes it for, after which further evidence is shown; of nothing that they can name there is no
    more to judge."""
    item, me = _item(request, study_id, key)
    form = SayForm(request.POST)
    if not form.is_valid():
        return _shown(request, item, me, saying=form, status=422)
    said = slots.say(item, me, form.text)
    if said.text:
        return redirect("score_item", study_id, key)
    return _after(request, item, me, slots.submit(item, me, {}, form.cleaned_data["form"] or uuid4()))


@allow(Role.ANNOTATOR)
@require_POST
def score_save(request: HttpRequest, study_id: int, key: str) -> JsonResponse:
    """As far as somebody is, sent while they type."""
    item, me = _item(request, study_id, key)
    criteria = criteria_of(item.subject.study.rubric.criteria)
    form = DraftForm(request.POST, criteria)
    if not form.is_valid():
        return JsonResponse({"wrong": form.errors}, status=422)
    seated = staged.keep(item, me, form.given) or item.subject.kind == SubjectKind.PRACTICE
    try:
        total = rubrics.total(rubrics.judged(criteria, form.points | (queries.draft(item, me).get("fixed") or {})))
    except WrongPoints:
        total = None
    return JsonResponse({"seated": seated, "total": total})


@allow(Role.ANNOTATOR)
@sent
def score_reveal(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    """What it raises, once all is judged that is judged without."""
    item, me = _item(request, study_id, key)
    form = DraftForm(request.POST, criteria_of(item.subject.study.rubric.criteria))
    if not form.is_valid():
        return _shown(request, item, me, wrong=_said(form), status=422)
    staged.keep(item, me, form.given)
    try:
        staged.reveal(item, me, form.points)
    except WrongPoints as why:
        return _shown(request, item, me, wrong=why.wrong, status=422)
    except slots.NotPossible as why:
        messages.error(request, str(why))
    return redirect("score_item", study_id, key)


@allow(Role.ANNOTATOR)
@sent
def score_submit(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    item, me = _item(request, study_id, key)
    study = item.subject.study
    form, saying = PointsForm(request.POST, criteria_of(study.rubric.criteria)), SayForm(request.POST)
    if not form.is_valid():
        return _shown(request, item, me, wrong=_said(form), status=422)
    if not study.staged:  # all is given at once
        if not saying.is_valid():
            slots.save(item, me, form.given)
            return _shown(request, item, me, saying=saying, status=422)
        slots.say(item, me, saying.text)
    given = form.given
    try:
        score = staged.give(
            item, me, form.points, form.cleaned_data["form"], note=given["note"], flagged=given["flagged"]
        )
    except WrongPoints as why:
        staged.keep(item, me, given)
        return _shown(request, item, me, wrong=why.wrong, status=422)
    except slots.NotPossible as why:
        messages.error(request, str(why))
        return redirect("score_item", study_id, key)
    return _after(request, item, me, score)


@allow(Role.ANNOTATOR)
@require_safe
def score_answer(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    """Of an item of practice, what we would give it and why."""
    item, me = _item(request, study_id, key)
    given = queries.standing(item, me).scored
    if item.subject.kind != SubjectKind.PRACTICE or given is None:
        return redirect("score_item", study_id, key)
    study = item.subject.study
    known = item.known["points"]
    rows = [(each, given.points.get(each.key), known.get(each.key)) for each in criteria_of(study.rubric.criteria)]
    ctx = {"study": study, "given": given, "rows": rows, "known": item.known, "total": rubrics.total(known)}
    return render(request, "score/answer.html", ctx)


@allow(Role.ANNOTATOR)
@sent
def score_skip(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    item, me = _item(request, study_id, key)
    form = SkipForm(request.POST)
    if not form.is_valid():
        return _shown(request, item, me, skipping=form, status=422)
    try:
        slots.skip(item, me, form.cleaned_data["reason"])
    except slots.NotPossible as why:
        form.add_error("reason", str(why))
        return _shown(request, item, me, skipping=form, status=422)
    return _next(item.subject.study, me)


@allow(Role.ANNOTATOR)
@require_POST
def score_undo(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    study, me = study_to_score(study_id), annotator_of(signed_in(request))
    try:
        item = slots.undo(study, me)
    except slots.NotPossible as why:
        messages.error(request, str(why))
        return redirect("score_study", study_id)
    messages.success(request, "Taken back. It counts again once you give it.")
    return redirect("score_item", study_id, item.key)


@allow(Role.ANNOTATOR)
@require_POST
def score_leave(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    slots.leave(study_to_score(study_id), annotator_of(signed_in(request)))
    messages.success(request, "Your seat is free for others. What you had is kept.")
    return redirect("score")


def _item(request: HttpRequest, study_id: int, key: str) -> tuple[Item, Annotator]:
    me = annotator_of(signed_in(request))
    return item_to_score(study_id, key, me), me


def _after(request: HttpRequest, item: Item, me: Annotator, given: Score) -> HttpResponseRedirect:
    study = item.subject.study
    if item.subject.kind == SubjectKind.PRACTICE:
        return redirect("score_answer", study.pk, item.key)
    if given.extra:
        messages.warning(request, _late(study))
    return _next(study, me)


def _next(study: Study, me: Annotator) -> HttpResponseRedirect:
    try:
        item = slots.claim(study, me)
    except slots.NotPossible:
        item = None
    return redirect("score_item", study.pk, item.key) if item else redirect("score_study", study.pk)


def _said(form: PointsForm) -> dict[str, str]:
    return {name.removeprefix("points_"): str(errors[0]) for name, errors in form.errors.items()}


def _late(study: Study) -> str:
    if Study.objects.filter(pk=study.pk, state=StudyState.OPEN).exists():
        return "Somebody else had taken your seat meanwhile. Your score is kept as an extra one."
    return "This study was closed meanwhile. Your score is kept as an extra one."


def _shown(
    request: HttpRequest,
    item: Item,
    me: Annotator,
    *,
    saying: SayForm | None = None,
    skipping: SkipForm | None = None,
    wrong: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    study, standing = item.subject.study, queries.standing(item, me)
    said = standing.hypothesis
    ctx = {
        "item": item,
        "study": study,
        "shown": scoring.shown(item, study.lm, staged=study.staged),
        "standing": standing,
        "said": said if study.staged or standing.scored else None,
        "stage": _stage(study, standing),
        "saying": saying or SayForm(initial={"hypothesis": _last_said(standing)}),
        "criteria": scoring.asked(criteria_of(study.rubric.criteria), standing, wrong or {}),
        "most": rubrics.most(criteria_of(study.rubric.criteria)),
        "wrong": wrong,
        "form": uuid4(),
        "note": standing.given.get("note", ""),
        "flagged": standing.given.get("flagged", False),
        "skipping": skipping or SkipForm(),
        "reasons": REASONS,
        "progress": queries.progress(study, me),
        "practice": item.subject.kind == SubjectKind.PRACTICE and queries.practised(study, me),
        "may_take_back": queries.may_take_back(study, me),
    }
    return render(request, "score/item.html", ctx, status=status)


def _stage(study: Study, standing: Standing) -> str:
    """say: nothing is said yet; judge: further examples are shown; all: what it raises as well."""
    if not study.staged:
        return "all"
    if standing.hypothesis is None:
        return "say"
    return "all" if standing.revealed or not standing.hypothesis.text else "judge"


def _last_said(standing: Standing) -> str:
    said = standing.given.get("hypothesis") or (standing.hypothesis.text if standing.hypothesis else "")
    return str(said)
