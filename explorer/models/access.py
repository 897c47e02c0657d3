from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Role(models.IntegerChoices):
    """What somebody may do. Each may do all that those before it may."""

    VISITOR = 0, "visitor"  # nobody has signed in
    VIEWER = 10, "viewer"
    ANNOTATOR = 20, "annotator"
    RESEARCHER = 30, "researcher"
    ADMIN = 40, "admin"

    @property
    def may_annotate(self) -> bool:
        return self >= Role.ANNOTATOR

    @property
    def may_research(self) -> bool:
        return self >= Role.RESEARCHER

    @property
    def may_administer(self) -> bool:
        return self >= Role.ADMIN


BELOW_ADMIN = (Role.VIEWER, Role.ANNOTATOR, Role.RESEARCHER)


class Account(models.Model):
    """The role of one who is no administrator; those are Django's superusers (access.role_of)."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="account"
    )
    role = models.PositiveSmallIntegerField(choices=[(role, role.label) for role in BELOW_ADMIN], default=Role.VIEWER)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(role__in=BELOW_ADMIN), name="account_role_known")]

    def __str__(self) -> str:
        return f"{self.user}, {Role(self.role).label}"


class SignInLink(models.Model):
    """A link that signs one person in, once. Only its digest is kept."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"sign-in link for {self.user}"


class Scope(models.TextChoices):
    """What a token may be used for, within what its owner's role allows."""

    READ = "read", "read"
    WRITE = "write", "read and change"


class ApiToken(models.Model):
    """A key to the API. The secret itself is shown once and never kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)  # in clear: what a token is found and recognised by
    digest = models.CharField(max_length=64)  # HMAC-SHA256 of the secret
    scopes = ArrayField(models.CharField(max_length=16))
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values) & Q(scopes__len__gt=0), name="token_scopes_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """Something done to people's rights or to what is kept. Rows are added and never changed: a trigger
    sees to it, so nothing here refers to rows that may go."""

    at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=40)
    actor_id = models.BigIntegerField(null=True, blank=True)  # empty: the command line, or nobody signed in
    actor = models.CharField(max_length=150, blank=True)
    subject = models.CharField(max_length=200)
    details = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action}: {self.subject}"


class Bucket(models.Model):
    """How much of a rate somebody has left: a token bucket, filled up when it is next looked at."""

    key = models.CharField(max_length=200, primary_key=True)
    level = models.FloatField()
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
