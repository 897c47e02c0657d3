"""Static files gathered, given hashed names and compressed: a second's work, done when they have changed."""

import hashlib

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command


def collect() -> None:
    stamp, found = settings.STATIC_ROOT / ".collected", _fingerprint()
    if stamp.exists() and stamp.read_text() == found:
        return
    stamp.unlink(missing_ok=True)  # a run that is cut short leaves none
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(found)


def _fingerprint() -> str:
    digest = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            with storage.open(path) as file:
                content = file.read()
            digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()
