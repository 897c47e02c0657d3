"""Adding an SAE from the browser: what was uploaded is kept, and the job that reads it is started."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction

from explorer import artifacts
from explorer.actions import jobs
from explorer.actions.audit import Action, note
from explorer.models import Artifact, Job


def add(arguments: dict[str, Any], files: Iterable["UploadedFile[Any]"], *, by: User, address: str) -> Job:
    """All of it, or nothing: a full disk (OSError) leaves neither job nor file."""
    kept: dict[str, str] = {}
    try:
        with transaction.atomic():
            for file in files:
                kept[str(file.name)] = artifacts.put(file, name=str(file.name)).sha256
            if kept:
                arguments = arguments | {"sae": {"files": kept}}
                details = {"files": [{"name": name, "sha256": sha256} for name, sha256 in kept.items()]}
                note(Action.FILES_IMPORTED, ", ".join(kept), by=by, address=address, details=details)
            return jobs.start("explore", arguments, by=by)
    except BaseException:
        _forget(kept.values())
        raise


def _forget(hashes: Iterable[str]) -> None:
    """The bytes of those whose rows were taken back."""
    known = set(Artifact.objects.filter(pk__in=list(hashes)).values_list("pk", flat=True))
    for sha256 in set(hashes) - known:
        with suppress(OSError):
            storages["artifacts"].delete(artifacts.key(sha256))
