from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from explorer.celery_app import app
from explorer.kinds import Queue
from explorer.supervisor.leash import watch_standard_input


class Command(BaseCommand):
    help = "Runs a Celery worker for one queue, with the options that jobs rely on."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", choices=[queue.value for queue in Queue])
        parser.add_argument("--leashed", action="store_true", help="end when standard input does")

    def handle(self, *args: Any, queue: str, leashed: bool, **options: Any) -> None:
        if leashed:
            watch_standard_input()
        interactive = queue == Queue.INTERACTIVE
        # Threads share one cache of loaded models; a batch job has the process to itself.
        pool = ["threads", "-c", str(settings.JOB_THREADS)] if interactive else ["solo"]
        app.worker_main(
            ["worker", "--queues", queue, "--pool", *pool, "--hostname", f"{queue}@%h", "--loglevel", "INFO",
             "--without-gossip", "--without-mingle", "--without-heartbeat"]
        )  # fmt: skip
