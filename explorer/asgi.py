"""The web application: what stands in front, pages by WSGI on threads, streams by ASGI, and the hub's life."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
django.setup()

from django.conf import settings  # noqa: E402  the handlers need the apps to be ready
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.urls import reverse  # noqa: E402

from explorer.front.bodies import Bodies  # noqa: E402
from explorer.front.forwarded import Forwarded  # noqa: E402
from explorer.front.uploads import Uploads  # noqa: E402
from explorer.hub import hub  # noqa: E402
from explorer.pages import Pages, Receive, Scope, Send  # noqa: E402

STREAMS = "/events/"

pages = Pages()
streams = ASGIHandler()


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "http":
        if scope["path"] == STREAMS:
            await streams(scope, receive, send)
        else:
            await pages(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            hub.start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await hub.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


uploads = Uploads(reverse("sae_add", urlconf="explorer.urls"), settings.UPLOAD_LIMIT)
application = Forwarded(Bodies(_answer, settings.BODY_LIMIT, uploads), settings.PROXIES)
