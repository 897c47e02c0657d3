from typing import Any

from django.core.management.base import BaseCommand, CommandError

from explorer.supervisor.up import CannotStart, Supervisor


class Command(BaseCommand):
    help = "Starts everything on this machine, prints the address, and stops everything on Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        def say(text: str) -> None:
            self.stdout.write(text)
            self.stdout.flush()

        try:
            Supervisor(say).run()
        except CannotStart as why:
            raise CommandError(str(why)) from None
