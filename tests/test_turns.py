"""Pages are made in turn, and none waits long for one that is stuck."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from explorer.etags import revalidated
from explorer.turns import Turns


def test_one_after_the_other() -> None:
    turns, inside, most = Turns(patience=10), [0], [0]

    def take(_: int) -> None:
        with turns.one():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(take, range(12)))
    assert most == [1]


def test_nobody_waits_long_for_one_that_is_stuck() -> None:
    turns, stuck, let_go = Turns(), threading.Event(), threading.Event()

    def hang() -> None:
        with turns.one():
            stuck.set()
            let_go.wait(20)

    def fail() -> None:
        with turns.one():
            raise LookupError

    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(hang)
        stuck.wait(20)
        before = time.monotonic()
        for _ in range(3):
            with turns.one():
                pass
        assert 0.2 < time.monotonic() - before < 2
        let_go.set()
        hanging.result()
        assert isinstance(threads.submit(fail).exception(), LookupError)
    before = time.monotonic()
    with turns.one():  # it was given back, by both
        pass
    assert time.monotonic() - before < 0.05


def test_a_page_that_two_wait_for_is_made_once(rf: RequestFactory) -> None:
    made = []

    @revalidated(lambda request: "as it is")
    def view(request: HttpRequest) -> HttpResponse:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return HttpResponse(f"made {len(made)} times")

    def ask(_: int) -> bytes:
        request = rf.get("/a-page-that-two-wait-for/")
        request.user = AnonymousUser()
        return view(request).content

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, range(2))) == [b"made 1 times"] * 2
    assert len(made) == 1
