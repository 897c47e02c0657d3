from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, connection, transaction

from explorer.access import role_of
from explorer.actions import accounts, sign_in
from explorer.models import AuditEntry
from explorer.models.access import Role


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("role", [role for role in Role if role != Role.VISITOR])
def test_a_role_is_what_was_given(admin: User, viewer: User, role: Role) -> None:
    accounts.set_role(viewer.pk, role, by=admin)
    assert role_of(fresh(viewer)) == role


@pytest.mark.django_db
def test_roles_that_nobody_gave(viewer: User, admin: User) -> None:
    """Accounts of the release before this one, and of Django's own commands."""
    assert role_of(viewer) == Role.VIEWER
    assert role_of(admin) == Role.ADMIN
    assert role_of(AnonymousUser()) == Role.VISITOR


@pytest.mark.django_db
def test_an_administrator_can_step_down_but_not_the_last(admin: User, viewer: User) -> None:
    with pytest.raises(accounts.NotPossible, match="admin is the only administrator"):
        accounts.set_role(admin.pk, Role.VIEWER, by=admin)
    with pytest.raises(accounts.NotPossible):
        accounts.set_active(admin.pk, False, by=admin)
    accounts.set_role(viewer.pk, Role.ADMIN, by=admin)
    accounts.set_role(admin.pk, Role.ANNOTATOR, by=viewer)
    assert [role_of(fresh(user)) for user in (admin, viewer)] == [Role.ANNOTATOR, Role.ADMIN]


@pytest.mark.django_db
def test_one_whose_account_is_closed_is_no_other_administrator(admin: User, viewer: User) -> None:
    accounts.set_role(viewer.pk, Role.ADMIN, by=admin)
    accounts.set_active(viewer.pk, False, by=admin)
    with pytest.raises(accounts.NotPossible):
        accounts.set_role(admin.pk, Role.VIEWER, by=admin)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_step_down_at_once_one_stays(admin: User) -> None:
    other = User.objects.create_superuser("other")

    def step_down(user: User) -> bool:
        try:
            accounts.set_role(user.pk, Role.VIEWER, by=user)
        except accounts.NotPossible:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            User.objects.update(is_superuser=True)
            assert sorted(threads.map(step_down, (admin, other))) == [False, True]


@pytest.mark.django_db
def test_what_was_done_is_in_the_log(admin: User, viewer: User) -> None:
    accounts.set_role(viewer.pk, Role.RESEARCHER, by=admin, address="192.0.2.1")
    accounts.set_role(viewer.pk, Role.RESEARCHER, by=admin)  # no change, no entry
    accounts.set_active(viewer.pk, False, by=admin)
    accounts.set_active(viewer.pk, True, by=admin)
    accounts.make_link(viewer.pk, by=admin)
    user, token = accounts.invite("ann", Role.ANNOTATOR, by=admin)
    link = sign_in.find_link(token)
    assert link
    assert accounts.accept(link, "a password of ann") == user
    accounts.register("ben", "a password of ben", address="192.0.2.2")
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "subject", "actor", "address", "details")) == [
        ("role changed", "viewer", "admin", "192.0.2.1", {"from": "viewer", "to": "researcher"}),
        ("account closed", "viewer", "admin", None, {}),
        ("account reopened", "viewer", "admin", None, {}),
        ("sign-in link made", "viewer", "admin", None, {}),
        ("account made", "ann", "admin", None, {"role": "annotator"}),
        ("password set", "ann", "ann", None, {}),
        ("account made", "ben", "", "192.0.2.2", {"role": "viewer", "registered": True}),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE explorer_auditentry SET actor = 'nobody'", "DELETE FROM explorer_auditentry"]
)
def test_the_log_is_only_added_to(admin: User, viewer: User, statement: str) -> None:
    accounts.set_active(viewer.pk, False, by=admin)
    with (
        pytest.raises(DatabaseError, match="the audit log is only added to"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.get().actor == "admin"


@pytest.mark.django_db
def test_the_log_outlives_whom_it_is_about(admin: User, viewer: User) -> None:
    accounts.set_role(viewer.pk, Role.ADMIN, by=admin)
    accounts.set_role(admin.pk, Role.VIEWER, by=viewer)
    gone = viewer.pk
    viewer.delete()
    assert AuditEntry.objects.order_by("-pk").values_list("actor", "actor_id")[0] == ("viewer", gone)


@pytest.mark.django_db
def test_a_change_that_is_undone_leaves_no_entry(admin: User, viewer: User) -> None:
    with transaction.atomic():
        accounts.set_role(viewer.pk, Role.ADMIN, by=admin)
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()
    assert role_of(fresh(viewer)) == Role.VIEWER


@pytest.mark.django_db
def test_a_name_is_given_once(admin: User, viewer: User) -> None:
    with pytest.raises(accounts.NotPossible, match="There is an account called viewer already"):
        accounts.invite("viewer", Role.ADMIN, by=admin)
    assert role_of(fresh(viewer)) == Role.VIEWER
