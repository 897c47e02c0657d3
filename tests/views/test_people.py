"""Accounts, as an administrator and the people themselves see to them."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import escape
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.access import role_of
from explorer.actions import accounts, api_tokens, sign_in
from explorer.models import ApiToken, AuditEntry
from explorer.models.access import Role, Scope

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>"
PASSWORD = "a password of ann"


@pytest.fixture
def boss(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def secret_in(page: bytes) -> str:
    found = re.search(r'<code id="(?:secret|link)">([^<]+)</code>', page.decode())
    assert found
    return found[1]


def test_somebody_is_invited_and_comes(boss: Client) -> None:
    page = boss.post("/people/invite/", {"username": "ann", "role": Role.ANNOTATOR.value})
    link = secret_in(page.content)
    assert link.startswith("http://testserver/invitation/")
    assert "no-store" in page.headers["Cache-Control"]
    assert link not in boss.get("/people/").content.decode()

    ann = Client()
    for _ in range(2):  # looking at it does not spend it
        assert b"Welcome, ann" in ann.get(link).content
    assert ann.post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD}).headers["Location"] == "/"
    assert ann.get("/jobs/").status_code == 200
    assert role_of(User.objects.get(username="ann")) == Role.ANNOTATOR
    assert Client().get(link).status_code == 403
    again = Client().post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert again.status_code == 302


@pytest.mark.parametrize("password", ["short", "password1234", "ann-ann-ann-ann"])
def test_a_password_that_is_too_weak_leaves_the_invitation(boss: Client, password: str) -> None:
    link = secret_in(boss.post("/people/invite/", {"username": "ann-ann-ann-ann", "role": 10}).content)
    answer = Client().post(link, {"new_password1": password, "new_password2": password})
    assert (answer.status_code, b"errorlist" in answer.content) == (422, True)
    assert Client().get(link).status_code == 200


@pytest.mark.parametrize("role", ["0", "15", "admin", "", "-1", "99999999999999999999"])
def test_roles_that_there_are_not(boss: Client, viewer: User, role: str) -> None:
    assert boss.post("/people/invite/", {"username": "ann", "role": role}).status_code == 422
    assert boss.post(f"/people/{viewer.pk}/role/", {"role": role}).status_code == 422
    assert role_of(User.objects.get(pk=viewer.pk)) == Role.VIEWER
    assert not User.objects.filter(username="ann").exists()


def test_a_role_is_changed_at_once(boss: Client, viewer: User) -> None:
    theirs = Client()
    theirs.force_login(viewer)
    assert theirs.get("/people/").status_code == 403
    boss.post(f"/people/{viewer.pk}/role/", {"role": Role.ADMIN.value})
    assert theirs.get("/people/").status_code == 200
    boss.post(f"/people/{viewer.pk}/role/", {"role": Role.VIEWER.value})
    assert theirs.get("/people/").status_code == 403


def test_a_closed_account_is_out_at_once(boss: Client, viewer: User) -> None:
    theirs = Client()
    theirs.force_login(viewer)
    _, secret = api_tokens.make(viewer, "notebook", [Scope.READ], sign_in.LASTS)
    link = accounts.make_link(viewer.pk, by=viewer)[1]
    boss.post(f"/people/{viewer.pk}/active/", {"active": "no"})
    assert theirs.get("/jobs/").status_code == 302
    assert Client().get("/api/v1/me", headers={"authorization": f"Bearer {secret}"}).status_code == 401
    assert Client().get(f"/invitation/{link}/").status_code == 403
    boss.post(f"/people/{viewer.pk}/active/", {"active": "yes"})
    assert theirs.get("/jobs/").status_code == 200


def test_the_only_administrator_is_told_why_not(boss: Client, admin: User) -> None:
    page = boss.post(f"/people/{admin.pk}/active/", {"active": "no"}, follow=True)
    assert b"admin is the only administrator; make another one first." in page.content


def test_a_lost_password(boss: Client, viewer: User) -> None:
    link = secret_in(boss.post(f"/people/{viewer.pk}/link/").content)
    theirs = Client()
    theirs.post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert theirs.get("/account/").status_code == 200


def test_a_new_password_signs_out_everywhere_else(client: Client) -> None:
    user = User.objects.create_user("ann", password=PASSWORD)
    other = Client()
    for each in (client, other):
        each.force_login(user)
    new = {"old_password": PASSWORD, "new_password1": "another one of hers", "new_password2": "another one of hers"}
    assert client.post("/account/password/", new | {"old_password": "wrong"}).status_code == 422
    assert client.post("/account/password/", new).status_code == 302
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302


def test_a_token_is_shown_once(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    page = client.post("/account/tokens/", {"name": EVIL, "scope": "write", "lasts": "30"})
    secret = secret_in(page.content)
    assert "no-store" in page.headers["Cache-Control"]
    token = api_tokens.verify(secret)
    assert token is not None
    assert token.scopes == ["read", "write"]
    days = (token.expires_at - token.created_at).days
    assert days == 30
    page = client.get("/account/")
    assert secret not in page.content.decode()
    assert escape(EVIL) in page.content.decode()
    assert EVIL not in page.content.decode()


@pytest.mark.parametrize(
    "odd", [{"lasts": "36500"}, {"lasts": "0"}, {"scope": "admin"}, {"name": ""}, {"name": "a\x00b"}]
)
def test_tokens_that_cannot_be_made(client: Client, viewer: User, odd: dict[str, str]) -> None:
    client.force_login(viewer)
    assert client.post("/account/tokens/", {"name": "x", "scope": "read", "lasts": "7"} | odd).status_code == 422
    assert not ApiToken.objects.exists()


def test_one_revokes_ones_own(client: Client, viewer: User) -> None:
    client.force_login(viewer)
    token, secret = api_tokens.make(viewer, "notebook", [Scope.READ], sign_in.LASTS)
    assert client.post(f"/account/tokens/{token.pk}/revoke/").headers["Location"] == "/account/"
    assert api_tokens.verify(secret) is None


def test_registration_where_it_is_open(client: Client, settings: Settings) -> None:
    form = {"username": "ann", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/register/", form).status_code == 404
    assert not User.objects.exists()
    settings.OPEN_REGISTRATION = True
    assert client.post("/register/", form | {"is_superuser": "on", "role": "40"}).status_code == 302
    user = User.objects.get()
    assert (role_of(user), user.is_staff) == (Role.VIEWER, False)
    assert client.get("/account/").status_code == 200
    assert Client().post("/register/", form).status_code == 422


def test_the_log_is_read_by_kind_and_person(boss: Client, admin: User, viewer: User) -> None:
    for number in range(60):
        accounts.invite(f"person-{number}", Role.VIEWER, by=admin)
    accounts.set_active(viewer.pk, False, by=admin)
    first = boss.get("/audit/").content.decode()
    assert "account closed" in first
    assert first.count("<tr>") == 51
    older = re.search(r'rel="next" href="/audit/(\?below=\d+)"', first)
    assert older
    assert boss.get(f"/audit/{older[1]}").content.decode().count("<tr>") == 12
    closed = boss.get("/audit/?action=account closed").content.decode()
    assert closed.count("<tr>") == 2
    assert b"Nothing of that kind" in boss.get("/audit/?actor=nobody").content
    assert boss.get("/audit/?action=nonsense&below=x").status_code == 200


def test_names_are_escaped_wherever_they_stand(boss: Client, admin: User) -> None:
    """Fault 15 through a name: one that came in by another way than our forms."""
    evil = User.objects.create_user(f"{EVIL}\u202e")
    accounts.set_active(evil.pk, False, by=admin)
    api_tokens.make(evil, EVIL, [Scope.READ], sign_in.LASTS)
    for path in ("/people/", f"/people/{evil.pk}/", "/audit/", f"/audit/?actor={EVIL}"):
        page = boss.get(path).content.decode()
        assert EVIL not in page
        assert escape(EVIL) in page


@pytest.mark.parametrize("name", ["a b", "<b>", "a/b", "../a", "a\x00", "", "x" * 151, "a\u202eb", "a#b", "a?b"])
def test_names_that_are_none(boss: Client, name: str) -> None:
    answer = boss.post("/people/invite/", {"username": name, "role": Role.VIEWER.value})
    assert answer.status_code == 422
    assert User.objects.count() == 1


def test_a_list_takes_as_many_queries_for_three_as_for_one(
    boss: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(2):
        for number in range(2):
            User.objects.create_user(f"{User.objects.count()}-{number}")
        with django_assert_num_queries(3):  # session, user with role, people
            boss.get("/people/")


def test_guessing_ends_in_429(client: Client) -> None:
    User.objects.create_user("ann", password=PASSWORD)
    statuses = [client.post("/sign-in/", {"username": "ann", "password": "guess"}).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    answer = client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 10
    assert b"Too much at once" in answer.content
    elsewhere = client.post("/sign-in/", {"username": "ann", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 302


def test_guessing_one_persons_password_from_many_places(client: Client) -> None:
    guesses = [
        client.post("/sign-in/", {"username": "Ann", "password": "guess"}, REMOTE_ADDR=f"192.0.2.{i}").status_code
        for i in range(31)
    ]
    assert guesses == [200] * 30 + [429]


def test_who_is_sent_to_sign_in_comes_back(client: Client) -> None:
    assert client.get("/jobs/?state=done").headers["Location"] == "/sign-in/?next=/jobs/%3Fstate%3Ddone"
    posted = client.post("/jobs/diagnose/", headers={"referer": "http://testserver/jobs/?state=done"})
    assert posted.headers["Location"] == "/sign-in/?next=/jobs/%3Fstate%3Ddone"
    for elsewhere in ("https://evil.example/jobs/", "nonsense", ""):
        posted = client.post("/jobs/diagnose/", headers={"referer": elsewhere})
        assert posted.headers["Location"] == "/sign-in/?next=/"


def test_a_part_of_a_page_is_not_replaced_by_a_form_to_sign_in(client: Client) -> None:
    answer = client.get("/jobs/1/row/", headers={"hx-request": "true", "hx-current-url": "http://testserver/jobs/"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/sign-in/?next=/jobs/")


def test_changes_are_noted_with_where_they_came_from(boss: Client, viewer: User) -> None:
    places = {"2001:db8::1": "2001:db8::1", "192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1", "": None}
    for role, (peer, noted) in zip((20, 30, 20, 30), places.items(), strict=True):
        assert boss.post(f"/people/{viewer.pk}/role/", {"role": role}, REMOTE_ADDR=peer).status_code == 302
        assert AuditEntry.objects.order_by("-pk").values_list("actor", "address")[0] == ("admin", noted)
