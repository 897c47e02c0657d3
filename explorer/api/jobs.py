from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.urls import reverse
from ninja import P, PathEx, Query, Router, Schema
from ninja.responses import Status
from pydantic import Field

from explorer import kinds
from explorer.actions import jobs as job_actions
from explorer.api.auth import CallerRequest, needs
from explorer.api.keyset import BIGGEST, Page, Place, cursor
from explorer.gates import job_to_change, job_to_see
from explorer.models import Job
from explorer.models.access import Role, Scope
from explorer.models.jobs import JobState
from explorer.queries import jobs as job_queries

router = Router(tags=["jobs"])

reading = needs(Role.VIEWER, Scope.READ)
changing = needs(Role.VIEWER, Scope.WRITE)
JobId = PathEx[int, P(ge=1, le=BIGGEST, description="As in its page’s address.")]


class JobRow(Schema):
    """One piece of background work."""

    id: int
    kind: str
    title: str
    state: JobState
    done: int
    total: Annotated[int, Field(description="0: not known")]
    unit: str
    message: str
    parent: int | None
    created_by: Annotated[str | None, Field(description="None: the command line")]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    page: Annotated[str, Field(description="Where a person finds it")]

    @staticmethod
    def resolve_title(job: Job) -> str:
        return kinds.title(job.kind)

    @staticmethod
    def resolve_parent(job: Job) -> int | None:
        return job.parent_id

    @staticmethod
    def resolve_created_by(job: Job) -> str | None:
        return job.created_by.username if job.created_by else None

    @staticmethod
    def resolve_page(job: Job) -> str:
        return reverse("job", args=[job.pk])


class JobDetail(JobRow):
    attempt: int
    failures: int
    error: str
    text: Annotated[str, Field(description="What it has written so far")]
    result: Any
    parts: Annotated[list[int], Field(description="The jobs that its plan made")]

    @staticmethod
    def resolve_parts(job: Job) -> list[int]:
        return [part.pk for part in job_queries.children(job)]


class JobsWanted(Place):
    state: Annotated[JobState | None, Field(description="Only jobs in this state")] = None


@router.get("", response=Page[JobRow], summary="Jobs, newest first", **reading)
def list_jobs(request: CallerRequest, wanted: Query[JobsWanted]) -> Any:
    found = job_queries.listing(wanted.state or "", wanted.below, wanted.limit)
    return {"items": found.jobs, "next": cursor(found.older)}


@router.get("/{row:job_id}", response=JobDetail, summary="One job", **reading)
def get_job(request: CallerRequest, job_id: JobId) -> Any:
    return job_to_see(job_id)


@router.post(
    "/diagnose",
    response={202: JobDetail},
    summary="Check this installation",
    description="Starts a job that looks at versions, devices, the database and the disk.",
    **needs(Role.RESEARCHER, Scope.WRITE),
)
def diagnose(request: CallerRequest, response: HttpResponse) -> Any:
    return accepted(response, job_actions.start("diagnose", by=request.auth.signed_in))


@router.post("/{row:job_id}/cancel", response=JobDetail, summary="Cancel a job", **changing)
def cancel_job(request: CallerRequest, job_id: JobId) -> Any:
    """One's own, or as an administrator any. A running job stops when it next looks."""
    job_to_change(request.auth.user, job_id)
    return job_to_see(job_actions.cancel(job_id).pk)


@router.post("/{row:job_id}/retry", response={202: JobDetail}, summary="Retry a job", **changing)
def retry_job(request: CallerRequest, response: HttpResponse, job_id: JobId) -> Any:
    """One that failed or was cancelled; of a part, the job that it is a part of goes on too."""
    job_to_change(request.auth.user, job_id)
    return accepted(response, job_actions.retry(job_id))


def accepted(response: HttpResponse, job: Job) -> Status[Job]:
    """What starts a job answers so, and says where it is."""
    response["Location"] = reverse("api:get_job", args=[job.pk])
    return Status(202, job_to_see(job.pk))
