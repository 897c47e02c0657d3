from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from explorer.backup import restoring, terminal


class Command(BaseCommand):
    help = "Fills an empty data folder (and database) from a backup, of this release or an older one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="what `manage.py backup` wrote")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        with terminal.failures_told():
            summary = restoring.restore(file, terminal.Progress(self.stdout))
        self.stdout.write(f"{summary} from {file}")
