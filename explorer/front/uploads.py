"""Who may send more than a form has, and where: researchers, to the page that takes SAEs.

This is asked before anything is read, or whoever comes could fill the disk.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.contrib.auth import get_user
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, parse_cookie

from explorer.access import role_of
from explorer.models.access import Role
from explorer.pages import Headers, Scope
from explorer.sessions import SessionStore


class Uploads:
    def __init__(self, address: str, limit: int) -> None:
        self._address, self._limit = address, limit
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="uploads")  # pages must not wait for one another

    async def __call__(self, scope: Scope) -> int | None:
        if scope["path"] != self._address or scope["method"] != "POST":
            return None
        researches = await asyncio.get_running_loop().run_in_executor(self._threads, _researches, scope["headers"])
        return self._limit if researches else None


def _researches(headers: Headers) -> bool:
    cookies = b"; ".join(value for name, value in headers if name == b"cookie").decode("latin-1")
    request = HttpRequest()
    request.session = SessionStore(parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME))
    try:
        return role_of(get_user(request)) >= Role.RESEARCHER
    except (OperationalError, InterfaceError):
        return False  # the page says what is the matter
    finally:
        connections.close_all()
