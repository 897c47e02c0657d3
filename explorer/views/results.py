"""What comes out of a study. Nothing of it is shown to whoever still annotates in it."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_safe

from explorer import brought, score_files, scoring, sheets, study_charts
from explorer.access import READERS, allow, may_change_study, role_of
from explorer.actions import adjudications
from explorer.actions import scores as score_actions
from explorer.forms.results import AdjudicateForm, ImportForm, ItemsForm, ScoresForm, SubjectForm
from explorer.gates import Blind, address_of, results_to_see, signed_in, study_to_change
from explorer.models import Study
from explorer.models.access import Role
from explorer.models.studies import Meaning
from explorer.queries import results as queries
from explorer.results import study as results
from explorer.results.agreement import as_json
from explorer.results.items import SubjectResult, least_agreed, sayings
from explorer.results.listing import listing


@allow(READERS)
@require_safe
def study_results(request: HttpRequest, study_id: int) -> HttpResponse:
    try:
        study = results_to_see(request.user, study_id)
    except Blind as why:
        return render(request, "results/blind.html", {"study": why.study})
    found, form = results.of(study), ItemsForm(request.GET)
    ctx = {
        "study": study,
        "results": found,
        "criteria": [(each, f"{study_charts.CRITERION}{each.key}") for each in found.criteria],
        "named": role_of(request.user).may_research,
        "skips": queries.skips(study.pk),
        "form": form,
        "items": listing(found, *form.order, form.start),
        "may_change": may_change_study(request.user, study),
    }
    return render(request, "results/results.html", ctx)


@allow(READERS)
@require_safe
def study_chart(request: HttpRequest, study_id: int, chart: str) -> JsonResponse:
    figure = study_charts.of_study(results.of(results_to_see(request.user, study_id)), chart)
    if figure is None:
        raise Http404(f"There is no chart {chart}.")
    return JsonResponse(figure)


@allow(READERS)
@require_safe
def item_results(request: HttpRequest, study_id: int, key: str) -> HttpResponse:
    """One item: its evidence, and all that it was given."""
    study = results_to_see(request.user, study_id)
    found, item = results.of(study), queries.item(study.pk, key)
    result = found.item(key)
    if item is None or result is None:
        raise Http404(f"Study {study_id} has no item {key}.")
    ctx = {
        "study": study,
        "item": result,
        "shown": scoring.shown(item, study.lm, staged=False),
        "criteria": found.criteria,
        "scores": [(each, found.annotator(each.annotator)) for each in result.given],
        "named": role_of(request.user).may_research,
    }
    return render(request, "results/item.html", ctx)


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def study_adjudicate(request: HttpRequest, study_id: int) -> HttpResponse:
    """Whether hypotheses about a subject mean the same, judged without knowing whose they are, nor what it is."""
    study = results_to_see(request.user, study_id)
    order = least_agreed(results.of(study).subjects)
    posted = request.method == "POST"
    form, asked = AdjudicateForm(request.POST if posted else None), SubjectForm(request.POST if posted else request.GET)
    subject = _asked_for(order, asked.cleaned_data["subject"] if asked.is_valid() else None)
    if subject is None or not form.is_valid():
        return _adjudicate(request, study, order, subject, form)
    given = form.cleaned_data
    adjudications.adjudicate(subject.pk, Meaning(given["meaning"]), given["note"], by=signed_in(request))
    return redirect("study_adjudicate", study_id)


def _asked_for(order: Sequence[SubjectResult], number: int | None) -> SubjectResult | None:
    """The first that is not judged yet, where no other is asked for."""
    if number is None:
        return next((each for each in order if each.meaning is None), None)
    found = next((each for each in order if each.number == number), None)
    if found is None:
        raise Http404(f"There is nothing to judge of subject {number}.")
    return found


def _adjudicate(
    request: HttpRequest,
    study: Study,
    order: Sequence[SubjectResult],
    subject: SubjectResult | None,
    form: AdjudicateForm,
) -> HttpResponse:
    ctx: dict[str, object] = {
        "study": study,
        "subject": subject,
        "first": order[0] if order else None,
        "n": len(order),
        "n_judged": sum(each.meaning is not None for each in order),
        "form": form,
    }
    if subject:
        place = order.index(subject)
        ctx |= {
            "place": place + 1,
            "before": order[place - 1] if place else None,
            "after": order[place + 1] if place + 1 < len(order) else None,
            "sayings": sayings(subject),
            "shown": scoring.shown(queries.item_of_subject(subject.pk), study.lm, staged=False),
            "now": queries.adjudication(subject.pk),
        }
    return render(request, "results/adjudicate.html", ctx, status=422 if form.errors else 200)


@allow(READERS)
@require_safe
def scores_sheet(request: HttpRequest, study_id: int, sheet: str) -> StreamingHttpResponse:
    study, form = results_to_see(request.user, study_id), ScoresForm(request.GET)
    every = form.is_valid() and form.cleaned_data["all"]
    named = role_of(request.user).may_research
    if named:
        score_actions.taken_along(
            study, sheet, by=signed_in(request), address=address_of(request), details={"all": every}
        )
    name = f"{slugify(study.name) or f'study-{study.pk}'}-scores{'-all' if every else ''}"
    rows = score_files.records(study, sheet, every=every, named=named)
    return sheets.download(name, sheet, score_files.columns(study), rows)


@allow(READERS)
@require_safe
def study_agreement(request: HttpRequest, study_id: int) -> JsonResponse:
    study = results_to_see(request.user, study_id)
    name = f"{slugify(study.name) or f'study-{study.pk}'}-agreement.json"
    disposition = content_disposition_header(True, name)
    return JsonResponse(
        as_json(study, results.of(study)),
        json_dumps_params={"indent": 2, "ensure_ascii": False},
        headers={"Content-Disposition": disposition, "Cache-Control": "private, no-store"},
    )


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def scores_import(request: HttpRequest, study_id: int) -> HttpResponse:
    """Those of a file, all of them or none."""
    study = study_to_change(signed_in(request), study_id)
    if request.method != "POST":
        return _import(request, study, ImportForm())
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _import(request, study, form, status=422)
    file = form.cleaned_data["file"]
    try:
        found = score_files.read(file.read(), file.name, study)
        news = score_actions.bring(study, found, by=signed_in(request), address=address_of(request))
    except (brought.Unreadable, score_actions.Conflicting) as why:
        for fault in why.faults:
            form.add_error("file", fault)
        return _import(request, study, form, status=422)
    messages.success(request, f"{len(found):,} scores were read, and {news:,} of them are new.")
    return redirect("study_results", study_id)


def _import(request: HttpRequest, study: Study, form: ImportForm, *, status: int = 200) -> HttpResponse:
    ctx = {"study": study, "form": form, "columns": score_files.columns(study), "criteria": study.rubric.criteria}
    return render(request, "results/import.html", ctx, status=status)
