from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from explorer.backup import terminal, writing


class Command(BaseCommand):
    help = "Writes all rows, all artifacts and the generated key into one file, also while `manage.py up` runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="replaced, where it is there, once the new backup is whole")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        with terminal.failures_told():
            summary = writing.write(file, terminal.Progress(self.stdout))
        self.stdout.write(f"{summary} in {file}")
