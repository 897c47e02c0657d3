"""The explorer's settings for a test session and the real processes that it starts.

The session makes a data folder of its own; the processes it starts inherit it by EXPLORER_DATA.
"""

import os
import tempfile

if "EXPLORER_TEST_SESSION" not in os.environ:
    os.environ["EXPLORER_DATA"] = tempfile.mkdtemp(prefix="explorer-test-")
    os.environ["EXPLORER_TEST_SESSION"] = str(os.getpid())
    for name, value in {"LEASE": "2", "HEARTBEAT": "0.4", "SWEEP": "0.3"}.items():
        os.environ.setdefault(f"EXPLORER_JOB_{name}", value)

from explorer.settings import *  # noqa: F403
from explorer.settings import JOB_KINDS, STATIC_ROOT, STORAGES

JOB_KINDS = [*JOB_KINDS, "tests.kinds"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes 0.3 s by design
# Scripts are found where they lie, without collecting them first; tests/e2e serves them as `up` does.
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True
