"""What rows name, opened for work: lms and SAEs, which a worker keeps ready, and corpora."""

import errno
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from django.conf import settings
from django.db import OperationalError
from psycopg.errors import DiskFull

from explorer import artifacts
from explorer.models import Corpus, LanguageModel, Sae
from explorer.work.attempt import Refused
from explorer.work.ready import Ready
from sae_core import BadInput, Lm, load_lm, load_sae, open_corpus
from sae_core import Corpus as OpenedCorpus
from sae_core import Sae as CoreSae
from sae_core.devices import n_bytes, out_of_memory, pick
from sae_core.formats import ours

WEIGHTS = ".safetensors"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_ready = Ready(settings.KEPT_MEMORY)


def lm_at(source: str) -> Lm:
    """A folder's, as it is there now, or the hub's."""
    folder = Path(source).expanduser()
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    stamp = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in files if each.is_file()]
    expected = sum(size for name, size, _ in stamp if name.endswith(WEIGHTS))
    return _ready.get(f"{source} {stamp}", lambda: load_lm(source), lambda lm: n_bytes(lm.hf), expected)


def lm_of(row: LanguageModel) -> Lm:
    lm = lm_at(row.source)
    if lm.fingerprint != row.fingerprint:
        raise Refused(
            f"{row.source}: the weights there are not those that {row.name} was added with; add it again, or put "
            "them back."
        )
    return lm


def sae_of(row: Sae, lm: Lm) -> CoreSae:
    return _sae_on(row, str(lm.device))


def sae_alone(row: Sae) -> CoreSae:
    """For what needs no lm."""
    return _sae_on(row, str(pick()))


def _sae_on(row: Sae, device: str) -> CoreSae:
    def load() -> CoreSae:
        with scratch() as folder:
            if row.weights_id:
                os.symlink(artifacts.path(row.weights_id), folder / "sae.safetensors")
            described = {"version": ours.VERSION, "config": row.config, "sha256": row.weights_id or ""}
            (folder / "sae.json").write_text(json.dumps(described))
            return load_sae(folder, device=device)

    expected = row.weights.size if row.weights else 0
    return _ready.get(f"{row.pk} {row.fingerprint} {device}", load, n_bytes, expected)


@contextmanager
def corpus_of(row: Corpus) -> Iterator[OpenedCorpus]:
    with scratch() as folder:
        for name, sha256 in row.files.items():
            os.symlink(artifacts.path(sha256), folder / name)
        yield open_corpus(folder)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this piece of work, on the disk of the data folder; that of a killed worker goes with the next."""
    place: Path = settings.PLACES.scratch
    try:
        place.mkdir(parents=True, exist_ok=True)
        _forget_the_dead(place)
        made = tempfile.TemporaryDirectory(
            dir=place, prefix=f"{socket.gethostname()}+{os.getpid()}+", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise Refused(f"{place}: cannot be written ({error.strerror or error}). Is the disk full?") from error
    with made as folder:
        yield Path(folder)


def _forget_the_dead(place: Path) -> None:
    """What processes of this machine have left that are no more."""
    for each in place.iterdir():
        host, _, rest = each.name.partition("+")
        pid = rest.partition("+")[0]
        if host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(each, ignore_errors=True)


@contextmanager
def refusing() -> Iterator[None]:
    """What somebody can be wrong about, a full disk, and a want of memory are told as they are: trying again at once
    would be no use."""
    try:
        yield
    except BadInput as error:
        # A file that no memory is left to map is none that cannot be read.
        if isinstance(error.__cause__, OSError) and out_of_memory(error.__cause__):
            raise _no_memory(error.__cause__) from error
        raise Refused(str(error)) from error
    except OperationalError as error:
        if not isinstance(error.__cause__, DiskFull):
            raise
        raise Refused("PostgreSQL's disk is full. Nothing was kept of this; make room and retry.") from error
    except (OSError, RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise _no_memory(error) from error
        if not isinstance(error, OSError) or error.errno not in NO_ROOM:
            raise
        raise Refused(f"The disk is full ({error}). Nothing was kept of this; make room and retry.") from error


def _no_memory(error: BaseException) -> Refused:
    """What was kept ready goes, so that there is more for the next."""
    _ready.clear()
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return Refused(
        f"There is not enough memory for this ({said}). Take fewer SAEs at once, shorter contexts or a shorter prompt, "
        "or a worker that has more."
    )
