"""A web process that tells, on a page and on a stream's path, what it believes of a request."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.front.urls"
MIDDLEWARE = []
