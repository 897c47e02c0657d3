"""Links that sign a person in once, as a terminal prints them."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now

from explorer.actions import audit
from explorer.actions.audit import Action
from explorer.models import SignInLink

LASTS = timedelta(hours=12)
INVITATION_LASTS = timedelta(days=7)
ADMIN = "admin"


def ensure_admin() -> User:
    """The first administrator, who has no password until one is set."""
    user, made = User.objects.get_or_create(username=ADMIN, defaults={"is_staff": True, "is_superuser": True})
    if made:
        user.set_unusable_password()
        user.save()
    return user


@transaction.atomic
def make_link(user: User, lasts: timedelta = LASTS) -> str:
    """Returns the token; links made earlier for the same person no longer work."""
    SignInLink.objects.filter(user=user, used_at__isnull=True).delete()
    SignInLink.objects.filter(expires_at__lt=Now()).delete()
    token = secrets.token_urlsafe(32)
    SignInLink.objects.create(digest=_digest(token), user=user, expires_at=Now() + lasts)
    return token


@transaction.atomic
def make_link_at_terminal(user: User) -> str:
    """For whoever can run commands on this machine."""
    audit.note(Action.LINK_MADE, user.username, by=None)
    return make_link(user)


@transaction.atomic
def use_link(token: str) -> User | None:
    """Of two that use a link at once one is signed in."""
    if not spend(_digest(token)):
        return None
    user = SignInLink.objects.select_related("user").get(digest=_digest(token)).user
    return user if user.is_active else None


def find_link(token: str) -> SignInLink | None:
    """One that could still be used."""
    fresh = SignInLink.objects.filter(digest=_digest(token), used_at__isnull=True, expires_at__gt=Now())
    return fresh.select_related("user").filter(user__is_active=True).first()


def spend(digest: str) -> bool:
    # No joins in this filter: Django would move it all into a subquery, which is not looked at again
    # after waiting for another's lock, and both would be signed in.
    fresh = SignInLink.objects.filter(digest=digest, used_at__isnull=True, expires_at__gt=Now())
    return bool(fresh.update(used_at=Now()))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
