from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.apps.registry import Apps
from django.conf import settings
from django.db.models.signals import post_migrate


class ExplorerConfig(AppConfig):
    name = "explorer"

    def ready(self) -> None:
        from explorer import checks  # noqa: F401  registering the checks needs the apps to be ready

        for module in settings.JOB_KINDS:
            import_module(module)
        post_migrate.connect(_begin_with, sender=self)


def _begin_with(apps: Apps = apps, **_: Any) -> None:
    """What is there from the start, once its table is; `apps` are those after the migrations that were run."""
    from explorer.actions import rubrics  # models are no sooner there than the apps are ready

    if "rubric" in apps.all_models["explorer"]:
        rubrics.published()
