"""Every read of jobs worth a name."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Max, Q, QuerySet, Sum

from explorer.models import Job
from explorer.models.jobs import UNFINISHED, JobState

PAGE = 50


@dataclass(frozen=True)
class JobPage:
    jobs: list[Job]
    older: int | None  # the id to go on below


def listing(state: str = "", below: int | None = None, size: int = PAGE) -> JobPage:
    """Jobs that nobody's plan made, newest first."""
    q = Job.objects.filter(parent__isnull=True).select_related("created_by").defer("text", "traceback", "result")
    q = q.filter(state=state) if state else q
    q = q.filter(pk__lt=below) if below else q
    found = list(q.order_by("-pk")[: size + 1])
    jobs = with_progress(found[:size])
    return JobPage(jobs, older=jobs[-1].pk if len(found) > size else None)


def under_way() -> list[Job]:
    q = Job.objects.filter(parent__isnull=True, state__in=UNFINISHED).defer("text", "traceback", "result")
    return with_progress(list(q.order_by("-pk")[:10]))


def detail(job_id: int) -> Job | None:
    found = list(Job.objects.filter(pk=job_id).select_related("created_by", "parent"))
    return with_progress(found)[0] if found else None


def children(job: Job) -> QuerySet[Job]:
    return job.children.defer("text", "traceback", "result").order_by("pk")


def streamed(job_ids: Iterable[int]) -> list[Job]:
    """What a stream tells of its jobs."""
    return with_progress(list(Job.objects.filter(pk__in=list(job_ids)).defer("traceback", "result").order_by("pk")))


def with_progress(jobs: list[Job]) -> list[Job]:
    """A waiting job is as far as its children are together."""
    waiting = {job.pk: job for job in jobs if job.state == JobState.WAITING}
    if waiting:
        q = Job.objects.filter(parent__in=waiting).values("parent").order_by()
        sums = q.annotate(
            parts=Count("pk"),
            ended=Count("pk", filter=~Q(state__in=UNFINISHED)),
            sized=Count("pk", filter=Q(total__gt=0)),
            all_done=Sum("done"),
            all_total=Sum("total"),
            any_unit=Max("unit"),
        )
        columns = ("parent", "parts", "ended", "sized", "all_done", "all_total", "any_unit")
        for parent, parts, parts_ended, parts_sized, done, total, unit in sums.values_list(*columns):
            job = waiting[parent]
            if parts_sized == parts:
                job.done, job.total, job.unit = done, total, unit
            else:  # a child that does not say how much it will be
                job.done, job.total, job.unit = parts_ended, parts, "parts"
    return jobs
