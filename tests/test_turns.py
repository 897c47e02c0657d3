"""Pages are made in turn, and none waits long for one that is stuck."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from explorer.etags import revalidated
from explorer.turns import Turns


def test_one_after_the_other() -> None:
    turns, inside, let_go = Turns(patience=20), threading.Semaphore(0), threading.Semaphore(0)

    def take() -> None:
        with turns.one():
            inside.release()
            let_go.acquire(timeout=20)

    with ThreadPoolExecutor(4) as threads:
        taking = [threads.submit(take) for _ in range(4)]
        for _ in taking:
            assert inside.acquire(timeout=20)
            assert not inside.acquire(timeout=0.05), "another is in as well"
            let_go.release()
        for each in taking:
            each.result()


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
    made, asked, making = [], threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=0.05)

    def version(request: HttpRequest) -> str:
        asked.wait()  # both want it before either has it
        return "as it is"

    @revalidated(version)
    def view(request: HttpRequest) -> HttpResponse:
        made.append(threading.get_ident())
        with suppress(threading.BrokenBarrierError):
            making.wait()  # where the other makes it too, they meet here
        return HttpResponse(f"made {len(made)} times")

    def ask(_: int) -> bytes:
        request = rf.get("/a-page-that-two-wait-for/")
        request.user = AnonymousUser()
        return view(request).content

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, range(2))) == [b"made 1 times"] * 2
    assert len(made) == 1
