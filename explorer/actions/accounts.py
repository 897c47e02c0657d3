"""People: who there is, and what they may do. Whatever changes is noted in the audit log."""

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from explorer.access import role_of
from explorer.actions import audit, sign_in
from explorer.actions.audit import Action
from explorer.models import Account, SignInLink
from explorer.models.access import Role


class NotPossible(Exception):
    """The message is for the person who asked."""


def invite(username: str, role: Role, *, by: User, address: str | None = None) -> tuple[User, str]:
    """Returns the account, which has no password yet, and the token of a link to choose one by."""
    with transaction.atomic():
        user = _make(username, None, role)
        audit.note(Action.ACCOUNT_MADE, username, by=by, address=address, details={"role": role.label})
        return user, sign_in.make_link(user, sign_in.INVITATION_LASTS)


def register(username: str, password: str, *, address: str | None = None) -> User:
    """Somebody makes their own account; a viewer's."""
    with transaction.atomic():
        user = _make(username, password, Role.VIEWER)
        details = {"role": Role.VIEWER.label, "registered": True}
        audit.note(Action.ACCOUNT_MADE, username, by=None, address=address, details=details)
        return user


@transaction.atomic
def set_role(user_id: int, role: Role, *, by: User, address: str | None = None) -> None:
    user = _lock(user_id)
    before = role_of(user)
    if before == role:
        return
    if before == Role.ADMIN:
        _require_another_admin(user)
    user.is_superuser = user.is_staff = role == Role.ADMIN
    user.save(update_fields=["is_superuser", "is_staff"])
    if role != Role.ADMIN:
        Account.objects.update_or_create(user=user, defaults={"role": role})
    details = {"from": before.label, "to": role.label}
    audit.note(Action.ROLE_CHANGED, user.username, by=by, address=address, details=details)


@transaction.atomic
def set_active(user_id: int, active: bool, *, by: User, address: str | None = None) -> None:
    """A closed account signs nobody in, and its sessions, links and tokens stop working at once."""
    user = _lock(user_id)
    if user.is_active == active:
        return
    if not active and role_of(user) == Role.ADMIN:
        _require_another_admin(user)
    user.is_active = active
    user.save(update_fields=["is_active"])
    action = Action.ACCOUNT_REOPENED if active else Action.ACCOUNT_CLOSED
    audit.note(action, user.username, by=by, address=address)


@transaction.atomic
def make_link(user_id: int, *, by: User, address: str | None = None) -> tuple[User, str]:
    """For somebody who has lost a password, or an invitation."""
    user = _lock(user_id)
    if not user.is_active:
        raise NotPossible(f"The account of {user.username} is closed.")
    audit.note(Action.LINK_MADE, user.username, by=by, address=address)
    return user, sign_in.make_link(user, sign_in.INVITATION_LASTS)


@transaction.atomic
def accept(link: SignInLink, password: str, *, address: str | None = None) -> User | None:
    """The person an invitation was made for, now with a password; None where it was used meanwhile."""
    if not sign_in.spend(link.digest):
        return None
    set_password(link.user, password, address=address)
    return link.user


@transaction.atomic
def set_password(user: User, password: str, *, address: str | None = None) -> None:
    """Ends this person's other sessions too: each carries a hash of the password."""
    user.set_password(password)
    user.save(update_fields=["password"])
    audit.note(Action.PASSWORD_SET, user.username, by=user, address=address)


def _make(username: str, password: str | None, role: Role) -> User:
    try:
        with transaction.atomic():
            user = User.objects.create_user(username, password=password)
    except IntegrityError:
        raise NotPossible(f"There is an account called {username} already.") from None
    if role == Role.ADMIN:
        user.is_superuser = user.is_staff = True
        user.save(update_fields=["is_superuser", "is_staff"])
    else:
        Account.objects.create(user=user, role=role)
    return user


def _lock(user_id: int) -> User:
    """This account, and before it those of all administrators: of two who step down at once one stays."""
    list(User.objects.select_for_update().filter(is_superuser=True).order_by("pk").values_list("pk"))
    return User.objects.select_for_update().get(pk=user_id)


def _require_another_admin(user: User) -> None:
    if not User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk).exists():
        raise NotPossible(f"{user.username} is the only administrator; make another one first.")
