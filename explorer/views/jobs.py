from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer.access import allow, may_change_job, role_of
from explorer.actions import jobs as job_actions
from explorer.forms.jobs import JobFilter
from explorer.gates import job_to_change, job_to_see
from explorer.models.access import Role
from explorer.queries import jobs as job_queries


@allow(Role.VIEWER)
@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    form = JobFilter(request.GET)
    chosen: dict[str, Any] = form.cleaned_data if form.is_valid() else {"state": "", "below": None}
    page = job_queries.listing(chosen["state"], chosen["below"])
    return render(request, "jobs/jobs.html", {"form": form, "page": page, "state": chosen["state"]})


@allow(Role.VIEWER)
@require_safe
def job(request: HttpRequest, job_id: int) -> HttpResponse:
    return render(request, "jobs/job.html", _job_context(request, job_id))


@allow(Role.VIEWER)
@require_safe
def job_row(request: HttpRequest, job_id: int) -> HttpResponse:
    return render(request, "jobs/row.html", {"job": job_to_see(job_id)})


@allow(Role.VIEWER)
@require_safe
def job_panel(request: HttpRequest, job_id: int) -> HttpResponse:
    return render(request, "jobs/panel.html", _job_context(request, job_id))


@allow(Role.VIEWER)
@require_POST
def job_cancel(request: HttpRequest, job_id: int) -> HttpResponseRedirect:
    job_to_change(request.user, job_id)
    try:
        job_actions.cancel(job_id)
    except job_actions.NotPossible as why:
        messages.error(request, str(why))
    return redirect("job", job_id)


@allow(Role.VIEWER)
@require_POST
def job_retry(request: HttpRequest, job_id: int) -> HttpResponseRedirect:
    job_to_change(request.user, job_id)
    try:
        queued = job_actions.retry(job_id)
    except job_actions.NotPossible as why:
        messages.error(request, str(why))
        return redirect("job", job_id)
    return redirect("job", queued.pk)


@allow(Role.RESEARCHER)
@require_POST
def diagnose(request: HttpRequest) -> HttpResponseRedirect:
    assert isinstance(request.user, User)
    started = job_actions.start("diagnose", by=request.user)
    return redirect("job", started.pk)


def _job_context(request: HttpRequest, job_id: int) -> dict[str, object]:
    job = job_to_see(job_id)
    return {
        "job": job,
        "children": job_queries.children(job),
        "may_change": may_change_job(request.user, job),
        "may_debug": role_of(request.user).may_administer,
    }
