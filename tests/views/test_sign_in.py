from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from explorer.actions import sign_in
from explorer.models import SignInLink


@pytest.mark.django_db
def test_a_link_works_once(client: Client, admin: User) -> None:
    token = sign_in.make_link(admin)
    answer = client.get(f"/sign-in/{token}/")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.get("/").status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert Client().get(f"/sign-in/{token}/").status_code == 403


@pytest.mark.django_db
def test_a_link_is_not_kept_in_clear(admin: User) -> None:
    token = sign_in.make_link(admin)
    assert token not in str(SignInLink.objects.values().get())


@pytest.mark.django_db
def test_a_newer_link_ends_an_older_one(admin: User) -> None:
    older, newer = sign_in.make_link(admin), sign_in.make_link(admin)
    assert sign_in.use_link(older) is None
    assert sign_in.use_link(newer) == admin


@pytest.mark.django_db
@pytest.mark.parametrize("fault", ["expired", "inactive", "unknown"])
def test_links_that_do_not_work(admin: User, fault: str) -> None:
    token = sign_in.make_link(admin)
    if fault == "expired":
        SignInLink.objects.update(expires_at=Now() - timedelta(seconds=1))
    elif fault == "inactive":
        User.objects.update(is_active=False)
    else:
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert sign_in.use_link(token) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_that_use_a_link_at_once_one_is_signed_in(admin: User) -> None:
    token = sign_in.make_link(admin)

    def use(_: int) -> bool:
        try:
            return sign_in.use_link(token) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(use, range(8))) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobody_is_sent_to_another_site(client: Client, path: str) -> None:
    User.objects.create_user("ann", password="a password of ann")
    answer = client.post("/sign-in/", {"username": "ann", "password": "a password of ann", "next": path})
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.django_db
def test_a_wrong_password_is_said_and_the_name_kept(client: Client) -> None:
    page = client.post("/sign-in/", {"username": 'ann"><b>', "password": "wrong"}).content.decode()
    assert "Please enter a correct username and password" in page
    assert 'value="ann&quot;&gt;&lt;b&gt;"' in page


@pytest.mark.django_db
def test_the_first_admin_is_made_once_and_has_no_password() -> None:
    assert sign_in.ensure_admin() == sign_in.ensure_admin()
    assert not sign_in.ensure_admin().has_usable_password()
