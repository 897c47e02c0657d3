"""The gates that views fetch through: who may see and do what."""

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from explorer.models import Job
from explorer.queries import jobs as job_queries


def may_change(user: User | AnonymousUser, job: Job) -> bool:
    return user.is_staff or (job.created_by_id is not None and job.created_by_id == user.pk)


def job_to_see(request: HttpRequest, job_id: int) -> Job:
    job = job_queries.detail(job_id)
    if job is None:
        raise Http404(f"There is no job {job_id}.")
    return job


def job_to_change(request: HttpRequest, job_id: int) -> Job:
    job = job_to_see(request, job_id)
    if not may_change(request.user, job):
        raise PermissionDenied("Only whoever started a job, or an administrator, may change it.")
    return job


def require_staff(request: HttpRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("This is for administrators.")
