from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import scoring, subjects
from explorer.access import READERS, allow, may_change_job, may_change_study, role_of
from explorer.actions import studies as study_actions
from explorer.forms.studies import ChangeForm, KnownForm, RenameForm, ShowForm, StudiesForm, SubjectsForm
from explorer.forms.study_making import FromForm, MakeStudyForm
from explorer.gates import address_of, item_to_change, item_to_see, signed_in, study_to_change, study_to_see
from explorer.models import Item, Study
from explorer.models.access import Role
from explorer.models.studies import StudyState
from explorer.queries import jobs as job_queries
from explorer.queries import studies as queries
from explorer.studies.rubrics import criteria_of, total
from explorer.studies.sampling import Sample


@allow(READERS)
@require_safe
def studies(request: HttpRequest) -> HttpResponse:
    """Annotators are told of nothing but names, and how far they are."""
    form = StudiesForm(request.GET)
    below = form.cleaned_data["below"] if form.is_valid() else None
    role = role_of(request.user)
    ctx: dict[str, Any] = {"form": form, "below": below}
    if role.may_research:
        ctx["studies"], ctx["more"] = queries.studies(below)
        return render(request, "studies/studies.html", ctx)
    ctx["to_score"] = queries.open_to(signed_in(request)) if role.may_annotate else []
    return render(request, "studies/for_others.html", ctx | {"shown": queries.shown()})


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def study_make(request: HttpRequest) -> HttpResponse:
    by = signed_in(request)
    if request.method != "POST":
        return _making(request, MakeStudyForm(None, by, FromForm(request.GET).initial_study))
    form = MakeStudyForm(request.POST, by)
    if not form.is_valid():
        return _making(request, form, status=422)
    try:
        made = study_actions.make(**form.asked, by=by)
    except study_actions.NotPossible as why:
        form.add_error(None, str(why))
        return _making(request, form, status=422)
    return redirect("study", made.pk)


@allow(Role.RESEARCHER)
@require_safe
def study(request: HttpRequest, study_id: int) -> HttpResponse:
    found = study_to_see(study_id)
    return _study(request, found, _form_of(found))


@allow(Role.RESEARCHER)
@require_POST
def study_change(request: HttpRequest, study_id: int) -> HttpResponse:
    found = study_to_change(request.user, study_id)
    form = _form_of(found, request.POST)
    if not form.is_valid():
        return _study(request, found, form, status=422)
    with _told(request):
        study_actions.change(found, **form.cleaned_data)
    return redirect("study", study_id)


@allow(Role.RESEARCHER)
@require_POST
def study_open(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    found = study_to_change(request.user, study_id)
    with _told(request):
        study_actions.open_(found)
    return redirect("study", study_id)


@allow(Role.RESEARCHER)
@require_POST
def study_close(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    found = study_to_change(request.user, study_id)
    with _told(request):
        study_actions.close(found)
    return redirect("study", study_id)


@allow(Role.RESEARCHER)
@require_POST
def study_show(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    found, form = study_to_change(request.user, study_id), ShowForm(request.POST)
    with _told(request):
        study_actions.show(found, form.is_valid() and form.cleaned_data["shown"])
    return redirect("study", study_id)


@allow(Role.RESEARCHER)
@require_POST
def study_remove(request: HttpRequest, study_id: int) -> HttpResponseRedirect:
    found = study_to_change(request.user, study_id)
    study_actions.remove(found, by=signed_in(request), address=address_of(request))
    messages.success(request, f"{found.name} is removed.")
    return redirect("studies")


@allow(Role.RESEARCHER)
@require_safe
def study_item(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    item = item_to_see(study_id, key)
    return _item(request, item, _known_form(item))


@allow(Role.RESEARCHER)
@require_POST
def study_item_known(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    item = item_to_change(request.user, study_id, key)
    form = _known_form(item, request.POST)
    if not form.is_valid():
        return _item(request, item, form, status=422)
    with _told(request):
        study_actions.know(item, form.points, form.cleaned_data["why"])
    return redirect("study_item", study_id, key)


@allow(Role.RESEARCHER)
@require_POST
def study_item_unknown(request: HttpRequest, study_id: int, key: str) -> HttpResponseRedirect:
    item = item_to_change(request.user, study_id, key)
    with _told(request):
        study_actions.know_no_more(item)
    return redirect("study_item", study_id, key)


@contextmanager
def _told(request: HttpRequest) -> Iterator[None]:
    """Why it was not possible, on the next page."""
    try:
        yield
    except study_actions.NotPossible as why:
        messages.error(request, str(why))


def _making(request: HttpRequest, form: MakeStudyForm, *, status: int = 200) -> HttpResponse:
    return render(request, "studies/make.html", {"form": form}, status=status)


def _study(request: HttpRequest, found: Study, changing: RenameForm, *, status: int = 200) -> HttpResponse:
    form = SubjectsForm(request.GET)
    after = form.cleaned_data["after"] if form.is_valid() else None
    holdings, page = queries.holdings(found), queries.subjects(found, after)
    ctx = {
        "study": found,
        "form": form,
        "changing": changing,
        "may_change": may_change_study(request.user, found),
        "how_chosen": subjects.how_chosen(Sample.of(found.sample)),
        "holdings": [(subjects.called(each.kind, found.sae.hookpoint), each) for each in holdings],
        "n_subjects": sum(each.n for each in holdings),
        "n_items": sum(each.items for each in holdings),
        "seats": queries.seats(found),
        "intervals": [(20 * each, 20 * each + 20) for each in page.intervals],
        "page": page,
        "rows": [(subjects.called(each.subject.kind, found.sae.hookpoint), each) for each in page.rows],
        "flags": queries.flags(found),
        "skips": queries.skips(found),
        **_job_context(request, found, prepared=bool(holdings)),
    }
    return render(request, "studies/study.html", ctx, status=status)


def _job_context(request: HttpRequest, found: Study, *, prepared: bool) -> dict[str, Any]:
    """Of the job that prepares it, until it has."""
    job = found.job
    if job is None or prepared:
        return {"job": None}
    return {
        "job": job,
        "children": job_queries.children(job),
        "may_change_job": may_change_job(request.user, job),
        "may_debug": role_of(request.user).may_administer,
    }


def _item(request: HttpRequest, item: Item, form: KnownForm, *, status: int = 200) -> HttpResponse:
    study, subject = item.subject.study, item.subject
    before, after = queries.beside(item)
    scored = queries.scored(item)
    ctx = {
        "item": item,
        "subject": subject,
        "study": study,
        "kind": subjects.called(subject.kind, study.sae.hookpoint),
        "about": list(subjects.about(subject)),
        "shown": scoring.shown(item, study.lm, staged=study.staged),
        "before": before,
        "after": after,
        "form": form,
        "known_total": total(item.known["points"]) if item.known else None,
        "scored": scored,
        "may_answer": may_change_study(request.user, study) and not scored,
    }
    return render(request, "studies/item.html", ctx, status=status)


def _form_of(found: Study, data: Any = None) -> RenameForm:
    now = {"name": found.name, "guidelines": found.guidelines}
    return (ChangeForm if found.state == StudyState.DRAFT else RenameForm)(data, initial=now)


def _known_form(item: Item, data: Any = None) -> KnownForm:
    return KnownForm(data, criteria_of(item.subject.study.rubric.criteria), item.known)
