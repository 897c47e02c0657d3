"""What workers say and web processes hear: PostgreSQL notifications on one channel.

An event is small and may be lost; the job's row is what a stream resumes from. Two shapes:
`{"job", "attempt", "at", "text"}` a piece of the job's text and where in it it belongs;
`{"job", "parent", "attempt", "state", "done", "total", "unit", "message"}` how far it is.
"""

import json
from typing import Any

from django.db import connection

from explorer.models import Job

CHANNEL = "explorer"
# A payload ends at 8,000 bytes; a character takes at most 6 of them in JSON, and the rest is small.
LONGEST_TEXT = 1_200

FENCED_NOTIFY = """
    SELECT pg_notify(%s, %s) FROM explorer_job WHERE id = %s AND attempt = %s AND state = 'running'
"""


def encode(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def progress(job: Job) -> dict[str, Any]:
    return {
        "job": job.pk,
        "parent": job.parent_id,
        "attempt": job.attempt,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "unit": job.unit,
        "message": job.message,
    }


def publish_progress(job: Job) -> None:
    """Inside a transaction it is heard when that commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, encode(progress(job))])


def publish_text(job_id: int, attempt: int, at: int, text: str) -> bool:
    """Says a piece of text at once; False when this attempt is no longer the one that may speak."""
    with connection.cursor() as cursor:
        for start in range(0, len(text), LONGEST_TEXT):
            piece = text[start : start + LONGEST_TEXT]
            payload = encode({"job": job_id, "attempt": attempt, "at": at + start, "text": piece})
            cursor.execute(FENCED_NOTIFY, [CHANNEL, payload, job_id, attempt])
            if not cursor.rowcount:
                return False
    return True
