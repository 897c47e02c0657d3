"""The explorer's settings, with three pages more."""

from explorer.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.web_floor_site"
