"""The key that signs sessions: one per install, readable by its owner alone."""

import os
import secrets
import stat
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def read_or_make(path: Path) -> str:
    try:
        return _read(path)
    except OSError:  # not there; or not to be read, in which case the next lines say why
        try:
            _make(path)
            return _read(path)
        except OSError as wrong:
            raise ImproperlyConfigured(
                f"EXPLORER_DATA: {path.parent} cannot be written to ({wrong.strerror}); set it to a folder of your own"
            ) from None


def _read(path: Path) -> str:
    with path.open() as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ImproperlyConfigured(
                f"{path}: others may read this key (mode {mode:04o}); whoever has may have forged a session. "
                f"Delete the file to get a new key, or `chmod 600` it if nobody had."
            )
        key = file.read().strip()
    if len(key) < 50:
        raise ImproperlyConfigured(f"{path}: {len(key)} characters are no key; delete the file to get a new one")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret_key-")  # mkstemp gives mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # two processes start at once: the first key stays, both read it
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
