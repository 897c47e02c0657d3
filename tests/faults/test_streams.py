"""Fault 10 and what streams promise: nothing lost, nothing twice, nothing held."""

import signal
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now

from explorer.actions import attempts, jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from tests.conftest import cookie_of
from tests.faults.test_jobs import ended, lines
from tests.processes import Stream, Web, Workers, until

pytestmark = pytest.mark.slow


def words(n: int, word: str = "w") -> str:
    return "".join(f"{word}{number} " for number in range(n))


def open_stream(web: Web, cookie: dict[str, str], *found: Job, last_id: str = "") -> Stream:
    query = "&".join(f"job={job.pk}" for job in found)
    return Stream(web.open(f"/events/?{query}", cookie | ({"Last-Event-ID": last_id} if last_id else {})))


def read(stream: Stream, until_text: str = "") -> tuple[dict[int, str], list[str]]:
    """All texts up to the stream's end, or until a text holds the words; and the states heard."""
    texts: dict[int, str] = {}
    states = []
    for name, data in stream.events():
        if name == "text":
            so_far = texts.get(data["job"], "")
            assert data["at"] in (0, len(so_far)), "a piece was lost or came twice"
            texts[data["job"]] = data["text"] if data["at"] == 0 else so_far + data["text"]
            if until_text and until_text in texts[data["job"]]:
                break
        elif name == "job":
            states.append(data["state"])
        elif name == "end":
            break
    return texts, states


def test_a_client_that_leaves_ends_a_watched_job(workers: Workers, web: Web, viewer: User, trace: Path) -> None:
    """Fault 10: within 2 s of the client's leaving nothing more is generated."""
    workers.start("interactive")
    job = jobs.start("test_watched", {"n": 2000, "pause": 0.02, "trace": str(trace)})
    stream = open_stream(web, cookie_of(viewer), job)
    read(stream, until_text="w20 ")
    stream.close()
    left = time.time()
    done = ended(job, within=5)
    assert (done.state, done.message) == (JobState.CANCELLED, "Nobody was watching any more.")
    assert float(lines(trace)[-1]) - left < 2
    assert done.text.startswith(words(20)), "what was generated is kept"


def test_a_web_process_that_is_killed_ends_a_watched_job(workers: Workers, web: Web, viewer: User, trace: Path) -> None:
    """Nobody says goodbye; the watch runs out."""
    workers.start("interactive")
    job = jobs.start("test_watched", {"n": 2000, "pause": 0.02, "trace": str(trace)})
    read(open_stream(web, cookie_of(viewer), job), until_text="w20 ")
    web.process.send(signal.SIGKILL)
    left = time.time()
    assert ended(job, within=5).state == JobState.CANCELLED
    assert float(lines(trace)[-1]) - left < 2


def test_one_of_two_clients_leaves(workers: Workers, web: Web, viewer: User) -> None:
    workers.start("interactive")
    job = jobs.start("test_watched", {"n": 150, "pause": 0.02})
    stays, leaves = (open_stream(web, cookie_of(viewer), job) for _ in range(2))
    read(leaves, until_text="w5 ")
    leaves.close()
    texts, _ = read(stays)
    assert texts == {job.pk: words(150)}
    assert ended(job).state == JobState.DONE


def test_a_queued_job_that_nobody_watches_is_cancelled(workers: Workers, web: Web, viewer: User) -> None:
    """It waits in the queue; the client leaves; a worker comes too late."""
    job = jobs.start("test_watched", {"n": 5})
    stream = open_stream(web, cookie_of(viewer), job)
    assert next(stream.events())[0] == "job"
    stream.close()
    until(lambda: Job.objects.filter(pk=job.pk, watched_until__lt=Now()).exists())
    workers.start("interactive")
    assert ended(job).state == JobState.CANCELLED
    assert Job.objects.get(pk=job.pk).attempt == 0


def test_a_client_that_comes_back_loses_nothing(workers: Workers, web: Web, viewer: User) -> None:
    workers.start("interactive")
    job = jobs.start("test_stream", {"n": 100, "pause": 0.02})
    first = open_stream(web, cookie_of(viewer), job)
    so_far, _ = read(first, until_text="w10 ")
    first.close()
    until(lambda: "w30 " in Job.objects.get(pk=job.pk).text)
    second = open_stream(web, cookie_of(viewer), job, last_id=first.last_id)
    text = so_far[job.pk]
    for name, data in second.events():
        if name == "text":
            assert data["at"] == len(text)
            text += data["text"]
        if name == "end":
            break
    assert text == words(100)


def test_a_browsers_place_is_newer_than_its_address(web: Web, viewer: User) -> None:
    job = Job.objects.create(kind="test_stream", queue="interactive", state=JobState.DONE, attempt=1, text="abcdef")
    answer = web.open(
        f"/events/?job={job.pk}&last_event_id={job.pk}:1:2",
        cookie_of(viewer) | {"Last-Event-ID": f"{job.pk}:1:4"},
    )
    assert [data["text"] for name, data in Stream(answer).events() if name == "text"] == ["ef"]


def test_one_stream_carries_many_jobs_and_a_late_one_reads_the_rows(workers: Workers, web: Web, viewer: User) -> None:
    workers.start("interactive")
    found = [jobs.start("test_stream", {"n": 10, "word": word}) for word in "ab"]
    for job in found:
        ended(job)
    texts, states = read(open_stream(web, cookie_of(viewer), *found))
    assert texts == {job.pk: words(10, word) for job, word in zip(found, "ab", strict=True)}
    assert states == ["done", "done"]


def test_a_text_of_long_and_strange_pieces_arrives_whole(workers: Workers, web: Web, viewer: User) -> None:
    """Longer than a notification may be, with characters of one to four bytes and those that JSON escapes."""
    word = 'a\n\t"\\\x01é�\u202e漢😀' * 500
    workers.start("interactive")
    job = jobs.start("test_stream", {"n": 3, "word": word})
    texts, _ = read(open_stream(web, cookie_of(viewer), job))
    assert texts == {job.pk: words(3, word)}


def test_a_parent_shows_how_far_its_parts_are(workers: Workers, web: Web, viewer: User, tmp_path: Path) -> None:
    job = jobs.start("test_parts", {"parts": 3, "n": 20, "folder": str(tmp_path), "pause": 0.03})
    stream = open_stream(web, cookie_of(viewer), job)
    workers.start()
    waiting = []
    for name, data in stream.events():
        if name == "job" and data["state"] == "waiting":
            waiting.append((data["done"], data["total"], data["unit"]))
        if name == "end":
            break
    dones = [done for done, total, unit in waiting if (total, unit) == (60, "numbers")]
    assert dones == sorted(dones)
    assert any(0 < done < 60 for done in dones)


def test_streams_hold_no_connection_and_pages_go_on(web: Web, viewer: User) -> None:
    """Twice as many idle streams as the pool has connections."""
    cookie = cookie_of(viewer)
    job = jobs.start("test_stream", {"n": 1})  # no worker: it stays queued
    streams = [open_stream(web, cookie, job) for _ in range(20)]
    for stream in streams:
        assert next(stream.events())[0] == "job"
    assert [web.get("/jobs/", cookie).status for _ in range(10)] == [200] * 10
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        assert cursor.fetchone() == (1,)
    for stream in streams:
        stream.close()


def test_what_was_said_while_nobody_listened_is_read(web: Web, viewer: User) -> None:
    """The listening connection is cut, and before it is back the job ends; nothing comes after that."""
    job = attempts.claim(jobs.start("test_stream", {"n": 1}).pk, "a test")
    assert job
    stream = open_stream(web, cookie_of(viewer), job)
    assert next(stream.events())[0] == "text"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    attempts.finish(job, attempts.Tail(0, "all of it"), None)
    texts, states = read(stream)
    assert (texts, states[-1]) == ({job.pk: "all of it"}, JobState.DONE)


def test_what_somebody_else_says_on_the_channel_does_no_harm(workers: Workers, web: Web, viewer: User) -> None:
    job = jobs.start("test_stream", {"n": 10})
    stream = open_stream(web, cookie_of(viewer), job)
    assert next(stream.events())[0] == "job"
    with connection.cursor() as cursor:
        for payload in ("rubbish", "[]", "{}", "7", '{"job": []}', '"text"'):
            cursor.execute("SELECT pg_notify('explorer', %s)", [payload])
    workers.start("interactive")
    texts, _ = read(stream)
    assert texts == {job.pk: words(10)}


def test_an_open_stream_does_not_keep_the_server(web: Web, viewer: User) -> None:
    job = jobs.start("test_stream", {"n": 1})
    stream = open_stream(web, cookie_of(viewer), job)
    next(stream.events())
    start = time.monotonic()
    assert web.process.end() in (0, -signal.SIGTERM)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("query", ["", "?job=", "?job=x", "?job=-1", "?job=1%00", f"?job={10**30}", "?job=../1"])
def test_a_stream_of_nothing_is_refused(web: Web, viewer: User, query: str) -> None:
    assert web.get(f"/events/{query}", cookie_of(viewer)).status == 400


@pytest.mark.parametrize("last_id", ["x", "1:2", "1:2:3:4", "-1:0:0", "1:1:99999999999999999999"])
def test_a_place_that_is_none_is_refused(web: Web, viewer: User, last_id: str) -> None:
    assert web.get("/events/?job=1", cookie_of(viewer) | {"Last-Event-ID": last_id}).status == 400


def test_a_stranger_gets_no_stream(web: Web) -> None:
    assert web.get("/events/?job=1").status == 401
