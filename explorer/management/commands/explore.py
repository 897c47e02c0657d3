import logging
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse
from tqdm import tqdm

from explorer.actions import jobs
from explorer.kinds import Queue, title
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.queries import jobs as job_queries
from explorer.supervisor import embedded
from explorer.work import runner
from explorer.work.keeper import Keeper

LOOK = 0.3  # seconds between two looks at the jobs
UNANSWERED = 3.0  # seconds after which nobody will come for a job, where no worker is at work


class Command(BaseCommand):
    help = "Adds a language model, an SAE and text: checks that they fit, collects, and prints the page to open."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lm", required=True, metavar="PATH_OR_HUB_ID")
        parser.add_argument(
            "--sae", required=True, metavar="PATH", help="a folder, a file or a hub id; or neurons:HOOKPOINT"
        )
        text = parser.add_mutually_exclusive_group(required=True)
        text.add_argument("--text", nargs="+", metavar="FILE", help="text files, JSONL, folders of them")
        text.add_argument("--tokens", metavar="PATH", help=".npy of token ids, or a corpus's folder")
        text.add_argument("--corpus", metavar="NAME", help="one that is there already, as its address calls it")
        parser.add_argument("--name", help="what the SAE is to be called")
        parser.add_argument("--hookpoint", help="where it reads, if its files do not say, or say it wrongly")
        parser.add_argument("--context-length", type=int, metavar="N")
        parser.add_argument("--contexts", type=int, metavar="N", help="collect over at most so many")
        fit = parser.add_mutually_exclusive_group()
        fit.add_argument(
            "--better", dest="fit", action="store_const", const="use", help="use a reading that fits better"
        )
        fit.add_argument("--as-it-is", dest="fit", action="store_const", const="keep", help="never another reading")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("explorer.work").setLevel(logging.WARNING)  # the bars say it
        try:
            with embedded.running("`manage.py explore`"):
                if settings.EMBEDDED_POSTGRES:
                    call_command("migrate", interactive=False, verbosity=0)
                self._explore(_arguments(options))
        except embedded.CannotRun as why:
            raise CommandError(str(why)) from None

    def _say(self, text: str, ending: str = "\n") -> None:
        self.stderr.write(text, ending=ending)
        self.stderr.flush()

    def _explore(self, arguments: dict[str, Any]) -> None:
        with Follower(self._say) as follower:
            added = follower.follow(jobs.start("explore", arguments))
            found: dict[str, Any] = added.result or {}
            if question := found.get("question"):
                fit = "use" if follower.ask(question) else "keep"
                added = follower.follow(jobs.start("explore", arguments | {"fit": fit}))
                found = added.result or {}
            self.stderr.write(added.text.rstrip())
            reading: list[int] = []  # the text that the library opens on
            then: list[int] = found["then"]
            if found["collect"]:
                collected = follower.follow(Job.objects.get(pk=found["collect"])).result or {}
                reading, then = collected.get("reading", []), collected.get("then", [])
            # What it scores and its map take a while, and there is all else to look at without.
            page = reverse("sae", args=[found["sae"]])
            self.stdout.write(f"http://{settings.HOST}:{settings.PORT}{page}")
            self.stdout.flush()
            for job_id in (*reading, *found["measure"], *then):
                follower.follow(Job.objects.get(pk=job_id))


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """What is here by a relative path is elsewhere for a worker."""
    arguments: dict[str, Any] = {
        "lm": _absolute(options["lm"]),
        "sae": _absolute(options["sae"]),
        "name": options["name"] or "",
        "hookpoint": options["hookpoint"] or "",
        "contexts": options["contexts"],
        "context_length": options["context_length"],
        "fit": options["fit"] or ("ask" if sys.stdin.isatty() else "keep"),
    }
    if options["text"]:
        return arguments | {"text": [_absolute(each) for each in options["text"]]}
    if options["corpus"]:
        return arguments | {"corpus": options["corpus"]}
    tokens = _absolute(options["tokens"])
    return arguments | ({"corpus": tokens} if Path(tokens).is_dir() else {"tokens": tokens})


def _absolute(path_or_id: str) -> str:
    path = Path(path_or_id).expanduser()
    return str(path.resolve()) if path.exists() else path_or_id


class Follower:
    """Shows how far jobs are, and runs them here where nobody else does."""

    def __init__(self, say: Any) -> None:
        self._say = say
        self._keeper = Keeper()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job")
        self._running: Future[None] | None = None
        self._asking = False

    def __enter__(self) -> "Follower":
        for number in (signal.SIGINT, signal.SIGTERM):
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, self._stop)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.stopping.set()
        self._threads.shutdown()
        self._keeper.end()

    def _stop(self, *_: object) -> None:
        self._keeper.stopping.set()
        if self._asking:  # nobody looks at it while a line is waited for
            raise KeyboardInterrupt

    def ask(self, question: str) -> bool:
        """Not on stdout, of which the last line is the page's address."""
        self._say(question)
        self._say("[y/n] ", ending="")
        self._asking = True
        try:
            return sys.stdin.readline().strip().lower().startswith("y")
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing was kept.") from None
        finally:
            self._asking = False

    def follow(self, job: Job) -> Job:
        """Until it has ended."""
        unanswered_since = time.monotonic()
        with tqdm(desc=title(job.kind), disable=None, bar_format="{desc}: {percentage:3.0f}% {bar} {postfix}") as bar:
            while True:
                (job,) = job_queries.with_progress(list(Job.objects.filter(pk=job.pk)))
                _show(bar, job)
                if not job.unfinished:
                    break
                if self._keeper.stopping.is_set():
                    raise CommandError(f"Stopped. Job {job.pk} goes on where it is when a worker next comes for it.")
                if self._running and self._running.done():
                    self._running.result()
                    self._running = None
                if self._running or _at_work():
                    unanswered_since = time.monotonic()
                elif time.monotonic() - unanswered_since > UNANSWERED or self._alone:
                    self._alone = True
                    if (due := _due(job)) is not None:
                        self._running = self._threads.submit(runner.run, due.pk, self._keeper)
                time.sleep(LOOK if not self._alone else LOOK / 10)
        if job.state != JobState.DONE:
            raise CommandError(job.error or f"Job {job.pk} was {job.state}.")
        return job

    _alone = False  # nobody else has answered


def _due(job: Job) -> Job | None:
    """What can be run now of a job and its parts."""
    family: Iterable[Job] = [job, *job.children.order_by("pk")]
    return next((each for each in family if each.state == JobState.QUEUED), None)


def _at_work() -> bool:
    """Whether a worker has a batch job, and so will come for this one."""
    return Job.objects.filter(queue=Queue.BATCH, state=JobState.RUNNING).exists()


def _show(bar: Any, job: Job) -> None:
    bar.total, bar.n = job.total or None, job.done
    figures = f"{job.done:,} of {job.total:,} {job.unit} " if job.total else ""
    bar.set_postfix_str(figures + job.message, refresh=True)
