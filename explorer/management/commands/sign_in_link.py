from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from explorer.actions import sign_in


class Command(BaseCommand):
    help = "Prints a link that signs a person in, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default=sign_in.ADMIN)

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"Nobody who may sign in is called {username!r}.")
        token = sign_in.make_link_at_terminal(user)
        self.stdout.write(f"http://{settings.HOST}:{settings.PORT}{reverse('sign_in_link', args=[token])}")
