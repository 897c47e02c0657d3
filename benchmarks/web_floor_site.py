"""The explorer with three pages more, on which nothing is done that a signed-in page can leave out.

Each looks at who asks, so session and user are read from PostgreSQL as for any page.
"""

import random
from functools import cache
from types import SimpleNamespace

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import etag

from explorer.access import allow
from explorer.models.access import Role

CONTEXTS, CONTEXT_LENGTH = 20, 64  # 1,280 tokens
WORDS = ("the", "of", "atlas", "sparse", "coder", "reads", "what", "fires", "&", "<b>", "naïve", "語", "\n")

PAGE = """{% extends "base.html" %}
{% block title %}Feature 2034{% endblock %}
{% block main %}<h1>Feature 2034</h1><ol class="examples">{{ examples }}</ol>{% endblock %}"""


@allow(Role.VIEWER)
def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def version(request: HttpRequest) -> str:
    return '"floor"'


@allow(Role.VIEWER)
@etag(version)
def not_modified(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@allow(Role.VIEWER)
def ready_made(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ready_made_page())


@cache
def ready_made_page() -> bytes:
    """Some 165 kB: every token can be focused and carries what a script would say of it."""
    dice = random.Random(0)
    examples = format_html_join("\n", "<li>{}</li>", ((_tokens(dice, 10_000 + number),) for number in range(CONTEXTS)))
    viewer = SimpleNamespace(is_authenticated=True, username="viewer")
    page: str = engines["django"].from_string(PAGE).render({"examples": examples, "user": viewer})
    return page.encode()


def _tokens(dice: random.Random, context: int) -> SafeString:
    return format_html_join(
        "",
        '<span class="token level-{}" tabindex="0" data-context="{}" data-position="{}" data-id="{}" '
        'data-act="{}"> {}</span>',
        (
            (dice.randrange(10), context, position, dice.randrange(50_000), f"{dice.random() * 20:.4f}",
             dice.choice(WORDS))
            for position in range(CONTEXT_LENGTH)
        ),
    )  # fmt: skip


handler500 = "explorer.views.errors.server_error"
urlpatterns = [
    path("", include("explorer.urls")),
    path("benchmark/empty/", empty),
    path("benchmark/not-modified/", not_modified),
    path("benchmark/ready-made/", ready_made),
]
