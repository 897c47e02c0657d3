from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from explorer.supervisor.up import CannotStart, Supervisor


class Command(BaseCommand):
    help = "Starts everything on this machine, prints the address, and stops everything on Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="fill the library with the demo, the first time")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        def say(text: str) -> None:
            self.stdout.write(text)
            self.stdout.flush()

        try:
            Supervisor(say, demo=demo).run()
        except CannotStart as why:
            raise CommandError(str(why)) from None
