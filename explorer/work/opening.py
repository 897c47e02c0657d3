"""What rows name, opened for work: lms and SAEs, of which a worker keeps the last ones ready, and corpora."""

import errno
import json
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from django.conf import settings

from explorer import artifacts
from explorer.models import Corpus, LanguageModel, Sae
from explorer.work.attempt import Refused
from sae_core import BadInput, Lm, load_lm, load_sae, open_corpus
from sae_core import Corpus as OpenedCorpus
from sae_core import Sae as CoreSae
from sae_core.formats import ours

T = TypeVar("T")

KEPT_LMS, KEPT_SAES = 1, 4
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Kept(Generic[T]):
    """The last few, so that the parts of one collection load nothing twice. Threads that want the same wait for it."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, load: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= self._at_most:  # before loading, as two may not fit
                    self._kept.popitem(last=False)
                self._kept[key] = load()
            self._kept.move_to_end(key)
            return self._kept[key]


_lms: Kept[Lm] = Kept(KEPT_LMS)
_saes: Kept[CoreSae] = Kept(KEPT_SAES)


def lm_of(row: LanguageModel) -> Lm:
    def load() -> Lm:
        lm = load_lm(row.source)
        if lm.fingerprint != row.fingerprint:
            raise Refused(
                f"{row.source}: the weights there are not those that {row.name} was added with; add it again, or put "
                "them back."
            )
        return lm

    return _lms.get(row.fingerprint, load)


def sae_of(row: Sae, lm: Lm) -> CoreSae:
    def load() -> CoreSae:
        with scratch() as folder:
            if row.weights_id:
                os.symlink(artifacts.path(row.weights_id), folder / "sae.safetensors")
            described = {"version": ours.VERSION, "config": row.config, "sha256": row.weights_id or ""}
            (folder / "sae.json").write_text(json.dumps(described))
            return load_sae(folder, device=str(lm.device))

    return _saes.get(f"{row.pk} {row.fingerprint} {lm.device}", load)


@contextmanager
def corpus_of(row: Corpus) -> Iterator[OpenedCorpus]:
    with scratch() as folder:
        for name, sha256 in row.files.items():
            os.symlink(artifacts.path(sha256), folder / name)
        yield open_corpus(folder)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this piece of work; what a killed worker leaves in it goes when the explorer next starts."""
    place: Path = settings.PLACES.scratch
    try:
        place.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise Refused(f"{place}: cannot be written ({error.strerror or error}). Is the disk full?") from error
    with made as folder:
        yield Path(folder)


@contextmanager
def refusing() -> Iterator[None]:
    """What somebody can be wrong about, and a full disk, is told as it is; trying again would be no use."""
    try:
        yield
    except BadInput as error:
        raise Refused(str(error)) from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Refused(f"The disk is full: {error}. Nothing was kept of this; make room and retry.") from error
        raise
