from functools import cache
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Remembers addresses: a page has thirty, and the manifest that they are made of is read once."""

    # Our modules import each other by hashed names too. Django's own way to have that looks into every script, and
    # django_htmx brings one that imports what is not there.
    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/map/*.js", ((r"""(?P<matched>import (?P<names>{[^}]*}) from "(?P<url>[^"]*)";)""",
                          """import %(names)s from "%(url)s";"""),)),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = cache(super().url)
