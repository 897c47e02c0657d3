from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class JobState(models.TextChoices):
    QUEUED = "queued"  # a worker may claim it from not_before on
    RUNNING = "running"  # claimed; its worker renews the lease
    WAITING = "waiting"  # planned; its children are at work
    DONE = "done"
    FAILED = "failed"  # parked with its error until somebody retries it
    CANCELLED = "cancelled"


UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)


class Job(models.Model):
    """One piece of background work. This row is the truth; the broker's message is only a doorbell."""

    kind = models.CharField(max_length=64)
    queue = models.CharField(max_length=16)
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.QUEUED)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="children")
    planned = models.BooleanField(default=False)  # its children exist; the next claim does what follows them

    # Who works on it. Whatever a worker writes carries its attempt, so a stale one writes nothing.
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, default="", blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(db_default=Now())

    # The doorbell: when it was last rung, and how often since the job was last queued.
    rung_at = models.DateTimeField(db_default=Now())
    rings = models.PositiveSmallIntegerField(default=0)

    cancel_requested = models.BooleanField(default=False)
    watched_until = models.DateTimeField(null=True, blank=True)  # set for kinds that stop when nobody looks

    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)  # 0: not known
    unit = models.CharField(max_length=32, default="", blank=True)
    message = models.CharField(max_length=500, default="", blank=True)
    text = models.TextField(default="", blank=True)  # what the running attempt has written so far
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(default="", blank=True)
    traceback = models.TextField(default="", blank=True)

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_state_known"),
            models.CheckConstraint(
                condition=Q(state=JobState.RUNNING, lease_until__isnull=False)
                | (~Q(state=JobState.RUNNING) & Q(lease_until__isnull=True)),
                name="job_lease_while_running",
            ),
        ]
        indexes = [
            # The sweeper looks at these every few seconds, however many finished jobs there are.
            models.Index(fields=["rung_at"], condition=Q(state=JobState.QUEUED), name="job_queued"),
            models.Index(fields=["lease_until"], condition=Q(state=JobState.RUNNING), name="job_running"),
            models.Index(fields=["-id"], condition=Q(parent__isnull=True), name="job_top_level"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} job {self.pk}"

    @property
    def unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def cancellable(self) -> bool:
        return self.unfinished and not self.cancel_requested

    @property
    def retryable(self) -> bool:
        return self.state in (JobState.FAILED, JobState.CANCELLED)
