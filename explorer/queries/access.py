"""Reads about people, their tokens and what was done to either."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from explorer.models import ApiToken, AuditEntry

PAGE = 50


@dataclass(frozen=True)
class AuditPage:
    entries: list[AuditEntry]
    older: int | None  # the id to go on below


def people() -> QuerySet[User]:
    in_use = Q(tokens__revoked_at__isnull=True, tokens__expires_at__gt=Now())
    q = User.objects.select_related("account").annotate(tokens_in_use=Count("tokens", filter=in_use))
    return q.order_by("-is_active", "username")


def person(person_id: int) -> User | None:
    return User.objects.select_related("account").filter(pk=person_id).first()


def tokens_of(user: User) -> QuerySet[ApiToken]:
    return user.tokens.filter(revoked_at__isnull=True, expires_at__gt=Now()).order_by("-pk")


def token(token_id: int) -> ApiToken | None:
    return ApiToken.objects.select_related("user").filter(pk=token_id).first()


def audit(action: str = "", actor: str = "", below: int | None = None) -> AuditPage:
    q = AuditEntry.objects.order_by("-pk")
    q = q.filter(action=action) if action else q
    q = q.filter(actor=actor) if actor else q
    q = q.filter(pk__lt=below) if below else q
    found = list(q[: PAGE + 1])
    return AuditPage(found[:PAGE], older=found[PAGE - 1].pk if len(found) > PAGE else None)
