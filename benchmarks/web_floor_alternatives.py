"""What the servers that were not chosen serve: Django's own handlers, for everything."""

import django

django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  the handlers need the apps to be ready
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402  after setup, as above

asgi = ASGIHandler()
wsgi = WSGIHandler()
