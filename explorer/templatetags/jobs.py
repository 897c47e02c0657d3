import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

from explorer import kinds
from explorer.models import Job

register = template.Library()


@register.filter
def kind_title(name: str) -> str:
    return kinds.title(name)


@register.filter
def figures(job: Job) -> str:
    """As jobs.js writes it while the job runs."""
    if job.total:
        return f"{job.done:,} of {job.total:,} {job.unit}".rstrip()
    return f"{job.done:,} {job.unit}".rstrip() if job.done else ""


@register.filter
def ago(moment: datetime) -> str:
    seconds = (timezone.now() - moment).total_seconds()
    return "just now" if seconds < 60 else f"{timesince(moment, depth=1)} ago"


@register.filter
def took(job: Job) -> str:
    if job.started_at is None:
        return "–"
    seconds = ((job.finished_at or timezone.now()) - job.started_at).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
