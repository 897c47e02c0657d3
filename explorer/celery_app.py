"""Celery: the engine that carries doorbells and holds threads. What it runs is tasks.run_job."""

import os

from celery import Celery
from kombu import Queue

from explorer import (
    file_broker,  # noqa: F401  makes files:// known as a broker's address
    kinds,
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")

app = Celery("explorer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name, routing_key=name) for name in kinds.Queue]
app.conf.task_default_queue = kinds.Queue.BATCH
app.conf.imports = ("explorer.tasks",)
