"""API tokens: `sae_`, twelve digits that name the row, and a secret of which an HMAC is kept."""

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare, salted_hmac

from explorer.actions import audit
from explorer.actions.audit import Action
from explorer.models import ApiToken
from explorer.models.access import Scope

FORM = re.compile(r"sae_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
MOST = 50  # that one account may have in use
USE_NOTED = timedelta(minutes=1)  # how exactly a token's last use is known


class TooManyTokens(Exception):
    pass


@transaction.atomic
def make(
    user: User, name: str, scopes: Sequence[Scope], lasts: timedelta, *, address: str | None = None
) -> tuple[ApiToken, str]:
    """Returns the row and the whole token, which nobody sees again."""
    User.objects.select_for_update().get(pk=user.pk)  # two forms at once must not both be the last allowed
    if user.tokens.filter(revoked_at__isnull=True, expires_at__gt=Now()).count() >= MOST:
        raise TooManyTokens(f"At most {MOST} tokens can be in use; revoke one first.")
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, name=name, prefix=prefix, digest=_digest(secret), scopes=list(scopes), expires_at=Now() + lasts
    )
    token.refresh_from_db()
    details = {"of": user.username, "scopes": token.scopes, "expires": token.expires_at.isoformat()}
    audit.note(Action.TOKEN_MADE, token, by=user, address=address, details=details)
    return token, f"sae_{prefix}_{secret}"


@transaction.atomic
def revoke(token: ApiToken, *, by: User, address: str | None = None) -> None:
    if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=Now()):
        audit.note(Action.TOKEN_REVOKED, token, by=by, address=address, details={"of": token.user.username})


def verify(text: str) -> ApiToken | None:
    """The token in use that this is, with its owner and role. Why it is none is not told."""
    found = FORM.fullmatch(text)
    if not found:
        return None
    prefix, secret = found.groups()
    q = ApiToken.objects.filter(prefix=prefix, revoked_at__isnull=True, expires_at__gt=Now(), user__is_active=True)
    token = q.select_related("user__account").first()
    if token is None or not constant_time_compare(token.digest, _digest(secret)):
        return None
    unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - USE_NOTED)
    ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=Now())
    return token


def _digest(secret: str) -> str:
    return salted_hmac("explorer.api-token", secret, algorithm="sha256").hexdigest()
