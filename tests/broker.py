"""Pointing this process's Celery at another broker for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from kombu import pools

from explorer.celery_app import app


@contextmanager
def used(url: str) -> Iterator[None]:
    options: dict[str, object] = {"socket_timeout": 5, "socket_connect_timeout": 1, "max_retries": 0}
    _point(url, options)
    try:
        yield
    finally:
        _point(settings.CELERY_BROKER_URL, settings.CELERY_BROKER_TRANSPORT_OPTIONS)


def _point(url: str, options: dict[str, object]) -> None:
    pools.reset()
    app._pool = app.amqp._producer_pool = None
    app.conf.update(broker_url=url, broker_transport_options=options)
    app.conf.broker_read_url = app.conf.broker_write_url = url
