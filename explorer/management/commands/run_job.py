import json
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from explorer import kinds
from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.supervisor import embedded
from explorer.work import runner
from explorer.work.keeper import Keeper


class Command(BaseCommand):
    help = "Runs one job here, in the foreground: a queued one by its number, or a new one by its kind."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", help="a job's number, or a kind of job")
        parser.add_argument("--arguments", default="{}", help="for a new job, a JSON object")

    def handle(self, *args: Any, job: str, arguments: str, **options: Any) -> None:
        try:
            self._run(job, arguments)
        except embedded.CannotRun as why:
            raise CommandError(str(why)) from None

    def _run(self, job: str, arguments: str) -> None:
        with embedded.running(f"`manage.py run_job {job}`"):
            found = self._find(job, arguments)
            keeper = Keeper()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: keeper.stopping.set())
            keeper.start()
            runner.run(found.pk, keeper)
            keeper.end()
            found.refresh_from_db()
            self._report(found)

    def _find(self, job: str, arguments: str) -> Job:
        if job.isdecimal():
            found = Job.objects.filter(pk=int(job)).first()
            if found is None:
                raise CommandError(f"There is no job {job}.")
            if found.state != JobState.QUEUED:
                raise CommandError(f"Job {job} is {found.state}; only a queued job can be run.")
            return found
        try:
            kinds.get(job)
            given = json.loads(arguments)
        except LookupError as unknown:
            raise CommandError(str(unknown)) from None
        except json.JSONDecodeError as wrong:
            raise CommandError(f"--arguments: {wrong}") from None
        if not isinstance(given, dict):
            raise CommandError("--arguments: a JSON object is wanted")
        return jobs.start(job, given)

    def _report(self, job: Job) -> None:
        if job.text:
            self.stdout.write(job.text)
        self.stdout.write(f"Job {job.pk} ({job.kind}): {job.state}")
        if job.result is not None:
            self.stdout.write(json.dumps(job.result, indent=2))
        if job.error:
            raise CommandError(job.traceback or job.error)
