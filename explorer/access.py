"""Who may do what.

Every view says who may enter (`allow`), or nobody may: `middleware.AccessMiddleware` and a check at
start-up see to it. What depends on the row as well is asked here too, by pages and API alike.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User

from explorer.models import FeatureList, FeatureMap, Job, Rubric, Sae, Study
from explorer.models.access import Role
from explorer.models.studies import StudyState

View = TypeVar("View", bound=Callable[..., Any])
Person = User | AnonymousUser


class Open(Enum):
    EVERYONE = "everyone"
    READERS = "everyone where reading is open, else whoever has signed in"
    DEVELOPERS = "everyone while debugging, else administrators"


EVERYONE, READERS, DEVELOPERS = Open.EVERYONE, Open.READERS, Open.DEVELOPERS
Entry = Open | Role


def allow(entry: Entry) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.entry = entry  # type: ignore[attr-defined]
        return view

    return mark


def entry_of(view: Callable[..., Any]) -> Entry | None:
    return getattr(view, "entry", None)


def least_role(entry: Entry) -> Role:
    if isinstance(entry, Role):
        return entry
    if entry is READERS and not settings.OPEN_READING:
        return Role.VIEWER
    if entry is DEVELOPERS and not settings.DEBUG:
        return Role.ADMIN
    return Role.VISITOR


def role_of(user: Person) -> Role:
    if not user.is_authenticated:
        return Role.VISITOR
    if user.is_superuser:
        return Role.ADMIN
    account = getattr(user, "account", None)  # raises an AttributeError where there is none
    return Role(account.role) if account else Role.VIEWER


def may_change_sae(user: Person, sae: Sae) -> bool:
    return _may_change(user, sae.created_by_id)


def may_change_map(user: Person, found: FeatureMap) -> bool:
    return _may_change(user, found.created_by_id)


def may_change_study(user: Person, found: Study) -> bool:
    return _may_change(user, found.created_by_id)


def may_see_results(user: Person, found: Study) -> bool:
    """Of a study that is open others than researchers see nothing, as they might be about to annotate in it."""
    return role_of(user).may_research or (found.shown and found.state == StudyState.CLOSED)


def may_score(user: Person, found: Study) -> bool:
    return role_of(user).may_annotate and found.state == StudyState.OPEN


def may_change_rubric(user: Person, found: Rubric) -> bool:
    return _may_change(user, found.created_by_id)


def may_change_job(user: Person, job: Job) -> bool:
    return role_of(user).may_administer or (job.created_by_id is not None and job.created_by_id == user.pk)


def may_see_list(user: Person, found: FeatureList) -> bool:
    return found.shared or (found.owner_id is not None and found.owner_id == user.pk)


def may_remove_list(user: Person, found: FeatureList) -> bool:
    """Bookmarks stay, as everybody has them."""
    return not found.bookmarks and (role_of(user).may_administer or found.owner_id == user.pk)


def _may_change(user: Person, created_by_id: int | None) -> bool:
    """Administrators everything, researchers what they have made."""
    role = role_of(user)
    return role.may_administer or (role.may_research and created_by_id is not None and created_by_id == user.pk)
