from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ExplorerConfig(AppConfig):
    name = "explorer"

    def ready(self) -> None:
        from explorer import checks  # noqa: F401  registering the checks needs the apps to be ready

        for module in settings.JOB_KINDS:
            import_module(module)
