"""The audit log. Whoever changes rights, or takes data in or out, notes it in the same transaction."""

from enum import StrEnum
from typing import Any

from django.contrib.auth.models import User

from explorer.models import AuditEntry


class Action(StrEnum):
    ACCOUNT_MADE = "account made"
    ACCOUNT_CLOSED = "account closed"
    ACCOUNT_REOPENED = "account reopened"
    ROLE_CHANGED = "role changed"
    PASSWORD_SET = "password set"  # noqa: S105  a name for what happened, no password
    LINK_MADE = "sign-in link made"
    TOKEN_MADE = "token made"  # noqa: S105
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    FILES_IMPORTED = "files imported"
    SAE_REMOVED = "SAE removed"
    LABELS_IMPORTED = "labels imported"
    LIST_REMOVED = "list removed"
    MAP_REMOVED = "map removed"
    STUDY_REMOVED = "study removed"
    SCORES_IMPORTED = "scores imported"
    SCORES_EXPORTED = "scores exported"


def note(
    action: Action,
    subject: object,
    *,
    by: User | None,
    address: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    AuditEntry.objects.create(
        action=action,
        subject=str(subject)[:200],
        actor_id=by.pk if by else None,
        actor=by.username if by else "",
        address=address or None,
        details=details or {},
    )
