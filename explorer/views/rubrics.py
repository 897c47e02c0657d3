from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from explorer.access import READERS, allow, may_change_rubric, role_of
from explorer.actions import rubrics as rubric_actions
from explorer.forms.rubrics import NewRubricForm, RubricForm
from explorer.gates import rubric_to_change, rubric_to_see, signed_in
from explorer.models import Rubric
from explorer.models.access import Role
from explorer.queries import rubrics as queries
from explorer.studies.rubrics import criteria_of, most


@allow(READERS)
@require_safe
def rubrics(request: HttpRequest) -> HttpResponse:
    found = [(each, most(criteria_of(each.criteria))) for each in queries.rubrics()]
    return render(request, "rubrics/rubrics.html", {"rubrics": found})


@allow(READERS)
@require_safe
def rubric(request: HttpRequest, slug: str, version: int) -> HttpResponse:
    found = rubric_to_see(slug, version)
    criteria = criteria_of(found.criteria)
    titles = {each.key: each.title for each in criteria}
    ctx = {
        "rubric": found,
        "criteria": [(each, titles.get(each.unless, "")) for each in criteria],
        "most": most(criteria),
        "versions": queries.versions(slug),
        "studies": queries.studies_by(found) if role_of(request.user).may_research else [],
        "may_change": may_change_rubric(request.user, found),
    }
    return render(request, "rubrics/rubric.html", ctx)


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def rubric_make(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _form(request, NewRubricForm(None))
    form = NewRubricForm(request.POST)
    if form.is_valid():
        try:
            made = rubric_actions.make(**form.given, by=signed_in(request))
            return redirect("rubric", made.slug, made.version)
        except rubric_actions.NotPossible as why:
            form.add_error(None, str(why))
    return _form(request, form, status=422)


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def rubric_revise(request: HttpRequest, slug: str, version: int) -> HttpResponse:
    """The next version of it."""
    found = rubric_to_see(slug, version)
    if request.method != "POST":
        return _form(request, RubricForm(None, found), revised=found)
    form = RubricForm(request.POST, found)
    if form.is_valid():
        try:
            made = rubric_actions.revise(found, **form.given, by=signed_in(request))
            return redirect("rubric", made.slug, made.version)
        except rubric_actions.NotPossible as why:
            form.add_error(None, str(why))
    return _form(request, form, revised=found, status=422)


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def rubric_change(request: HttpRequest, slug: str, version: int) -> HttpResponse:
    """One that no study uses."""
    found = rubric_to_change(request.user, slug, version)
    if request.method != "POST":
        return _form(request, RubricForm(None, found), changed=found)
    form = RubricForm(request.POST, found)
    if form.is_valid():
        try:
            rubric_actions.change(found, **form.given)
            return redirect("rubric", slug, version)
        except rubric_actions.NotPossible as why:
            form.add_error(None, str(why))
    return _form(request, form, changed=found, status=422)


def _form(
    request: HttpRequest,
    form: RubricForm,
    *,
    changed: Rubric | None = None,
    revised: Rubric | None = None,
    status: int = 200,
) -> HttpResponse:
    ctx: dict[str, Any] = {"form": form, "rubric": changed or revised, "changed": changed, "revised": revised}
    return render(request, "rubrics/form.html", ctx, status=status)
