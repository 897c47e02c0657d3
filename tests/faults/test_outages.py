"""Faults 6 and 7, torn and lost messages: PostgreSQL or the broker goes away and comes back."""

import threading
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection

from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.work.keeper import DEAF
from tests.conftest import cookie_of
from tests.faults.test_jobs import ended, lines
from tests.processes import DeafeningProxy, Postgres, Redis, Stream, Web, Workers, until

pytestmark = pytest.mark.slow


def test_postgres_is_restarted_under_a_page_and_a_job(
    workers: Workers, web: Web, postgres: Postgres, viewer: User, trace: Path
) -> None:
    """Fault 6: at most one failed request, the next is fine; the job goes on in its first attempt."""
    workers.start()
    job = jobs.start("test_count", {"n": 60, "pause": 0.05, "trace": str(trace)})
    cookie = cookie_of(viewer)
    until(lambda: len(lines(trace)) >= 3)
    statuses: list[int] = []
    over = threading.Event()

    def browse() -> None:
        while not over.is_set():
            statuses.append(web.get("/jobs/", cookie).status)

    browsing = threading.Thread(target=browse)
    browsing.start()
    until(lambda: len(statuses) >= 5)
    connection.close()
    postgres.restart()
    seen = len(statuses)
    until(lambda: len(statuses) >= seen + 5)
    over.set()
    browsing.join()

    assert [status for status in statuses if status != 200] in ([], [503])
    done = ended(job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 1, {"sum": 60 * 61 // 2})
    assert lines(trace) == [str(number) for number in range(1, 61)]


def test_a_restart_that_many_pages_came_before(web: Web, postgres: Postgres, viewer: User) -> None:
    """Each page left a connection in the pool, all of them broken now; the next page is not to find that out."""
    cookie = cookie_of(viewer)
    many = [threading.Thread(target=lambda: [web.get("/jobs/", cookie) for _ in range(5)]) for _ in range(16)]
    for each in many:
        each.start()
    for each in many:
        each.join()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert cursor.fetchone()[0] >= 4, "the pool has not grown, so nothing is tested"
    connection.close()
    postgres.restart()
    began = time.monotonic()
    until(lambda: web.get("/readyz").status == 200)
    assert [web.get("/jobs/", cookie).status for _ in range(8)] == [200] * 8
    assert time.monotonic() - began < 4  # found out one by one: 1 + 2 + 4 seconds


def test_postgres_is_restarted_under_a_stream(workers: Workers, web: Web, postgres: Postgres, viewer: User) -> None:
    """The hub comes back by itself and the stream misses nothing."""
    workers.start("interactive")
    job = jobs.start("test_stream", {"n": 60, "pause": 0.05})
    stream = Stream(web.open(f"/events/?job={job.pk}", cookie_of(viewer)))
    text = ""
    restarted = False
    for name, data in stream.events():
        if name == "text":
            assert data["at"] == len(text) or data["at"] == 0
            text = data["text"] if data["at"] == 0 else text + data["text"]
        if not restarted and "w5 " in text:
            restarted = True
            connection.close()
            postgres.restart()
        if name == "end":
            break
    assert text == "".join(f"w{number} " for number in range(60))


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_the_broker_is_away_when_a_form_is_posted(
    workers: Workers, web: Web, redis_server: Redis, admin: User, broker_url: str
) -> None:
    """Fault 7: the row is kept, the answer comes within 2 s, the sweeper delivers once the broker is back."""
    workers.start("interactive")
    cookie = cookie_of(admin)["Cookie"]
    assert web.post("/jobs/diagnose/", cookie).status == 302  # a connection that was good is in its pool
    ended(Job.objects.get())
    redis_server.stop()
    try:
        start = time.monotonic()
        answer = web.post("/jobs/diagnose/", cookie)
        took = time.monotonic() - start
    finally:
        redis_server.start()
    assert answer.status == 302
    assert took < 2
    assert "the broker took no message" in web.process.said
    assert ended(Job.objects.latest("pk")).state == JobState.DONE


@pytest.mark.parametrize("broker_url", ["files"], indirect=True)
def test_the_folder_of_messages_is_away_when_a_job_is_started(workers: Workers, broker_url: None) -> None:
    """Fault 7 for the embedded broker: its folder cannot be written."""
    folder = settings.PLACES.broker
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("not a folder")
    try:
        job = jobs.start("test_count", {"n": 2})
    finally:
        folder.unlink()
    workers.start()
    assert ended(job).result == {"sum": 3}


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_work_goes_on_after_restarts_of_the_broker(workers: Workers, redis_server: Redis, broker_url: str) -> None:
    """Celery reconnects; where it could not acknowledge a message it hears no other, and leaves by itself."""
    running = {queue: workers.start(queue) for queue in ("batch", "interactive")}

    def over(job: Job) -> bool:
        for queue, worker in running.items():
            if worker.popen.poll() is not None:  # what the supervisor does
                assert worker.popen.returncode == DEAF, worker.said
                running[queue] = workers.start(queue)
        return not Job.objects.get(pk=job.pk).unfinished

    for _ in range(3):
        redis_server.stop()
        time.sleep(0.5)  # long enough for the workers to meet a refused connection
        redis_server.start()
        for job in (jobs.start("test_count", {"n": 2}), jobs.start("test_stream", {"n": 2})):
            until(lambda job=job: over(job))  # type: ignore[misc]
            assert Job.objects.get(pk=job.pk).state == JobState.DONE


@pytest.mark.parametrize("broker_url", ["files"], indirect=True)
def test_a_torn_message_ends_no_worker(workers: Workers, broker_url: None) -> None:
    worker = workers.start()
    for number, content in enumerate((b"", b'{"body": "W1sxXSwge30s', b"\xff\xfe\x00", b"[]", b'{"body": 1}')):
        (settings.PLACES.broker / f"0_{number}.batch.msg").write_bytes(content)
    until(lambda: not list(settings.PLACES.broker.glob("0_*")))
    assert ended(jobs.start("test_count", {"n": 2})).result == {"sum": 3}
    assert worker.popen.poll() is None


@pytest.mark.parametrize("broker_url", ["files"], indirect=True)
def test_a_message_that_is_lost_is_sent_again(workers: Workers, broker_url: None) -> None:
    """And what stood for workers that are gone leaves no file behind."""
    job = jobs.start("test_count", {"n": 2})
    for path in settings.PLACES.broker.iterdir():
        path.unlink()
    worker = workers.start()
    assert ended(job).result == {"sum": 3}
    assert worker.end() == 0
    assert list(settings.PLACES.broker.iterdir()) == []


def test_messages_that_are_not_ours_are_left_alone(workers: Workers, broker_url: str | None) -> None:
    """A job's number that does not exist, and one that is no number."""
    from explorer.celery_app import app

    worker = workers.start()
    app.send_task("explorer.run_job", args=[10**12], queue="batch")
    app.send_task("explorer.run_job", args=["../../etc"], queue="batch")
    app.send_task("explorer.unknown", args=[1], queue="batch")
    assert ended(jobs.start("test_count", {"n": 2})).result == {"sum": 3}
    assert worker.popen.poll() is None


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_that_hears_nothing_makes_room_for_one_that_does(
    transactional_db: None, redis_server: Redis, broker_url: str, tmp_path: Path
) -> None:
    """A connection that looks alive and brings no messages."""
    proxy = DeafeningProxy(redis_server)
    workers = Workers(tmp_path, proxy.address)
    try:
        worker = workers.start()
        assert ended(jobs.start("test_count", {"n": 2})).state == JobState.DONE
        proxy.deafening = True
        job = jobs.start("test_count", {"n": 3})
        assert worker.popen.wait(30) == DEAF
        assert "this idle worker hears nothing" in worker.said
        proxy.deafening = False
        workers.start()  # as the supervisor does
        assert ended(job).result == {"sum": 6}
    finally:
        workers.close()
        proxy.close()


def test_an_idle_worker_that_hears_stays(workers: Workers) -> None:
    """Jobs wait long behind a busy worker; the sweeper rings for them; nobody is taken for deaf."""
    busy = workers.start()
    first = jobs.start("test_count", {"n": 60, "pause": 0.05})
    until(lambda: Job.objects.get(pk=first.pk).state == JobState.RUNNING)
    waiting = [jobs.start("test_count", {"n": 2}) for _ in range(3)]
    until(lambda: Job.objects.get(pk=waiting[-1].pk).rings >= 3)
    assert [ended(job).state for job in (first, *waiting)] == [JobState.DONE] * 4
    assert busy.popen.poll() is None
