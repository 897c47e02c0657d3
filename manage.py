#!/usr/bin/env python
"""Django's command line for the explorer; `manage.py up` starts everything."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "explorer.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        settings.DATABASES  # noqa: B018  the first look reads the environment
    except ImproperlyConfigured as wrong:
        sys.exit(f"A setting is wrong. {wrong}")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as away:
        if not settings.EMBEDDED_POSTGRES or settings.PLACES.lock.exists():
            raise
        sys.exit(f"The embedded PostgreSQL is not running ({away}). Start it with `manage.py up`, or set DATABASE_URL.")


if __name__ == "__main__":
    main()
