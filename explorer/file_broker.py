"""Celery's filesystem transport, made to outlive torn files and killed readers.

The stock one writes messages in place (a reader may meet half of one), raises on a file it cannot
parse (which ends the worker), and takes a message by moving it to the system's temporary folder
(where a killed reader leaves it).
"""

import contextlib
import json
import logging
import os
import time
import uuid
from functools import cached_property
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    @cached_property
    def folder(self) -> Path:
        folder = Path(self.connection.client.transport_options["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _queue_bind(self, *_: Any) -> None:
        """Doorbells go to a queue by its name; there are no bindings to keep in files."""

    def get_table(self, exchange: str) -> list[Any]:
        return []

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}.msg"
        draft = self.folder / f".{name}"
        try:
            draft.write_text(dumps(payload))
            draft.rename(self.folder / name)  # readers see a whole message or none
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _get(self, queue: str) -> Any:
        for path in self._waiting(queue):
            taken = path.with_name(f".{path.name}")
            try:
                path.rename(taken)  # one reader succeeds
            except FileNotFoundError:
                continue
            try:
                return loads(taken.read_bytes().decode())
            except (ValueError, json.JSONDecodeError):
                # Some other program's half-written file. The row it stood for is rung again.
                log.warning("%s holds no message; thrown away", path)
            finally:
                taken.unlink(missing_ok=True)
        raise Empty

    def _size(self, queue: str) -> int:
        return len(self._waiting(queue))

    def _purge(self, queue: str) -> int:
        count = 0
        for path in self._waiting(queue):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                count += 1
        return count

    def _waiting(self, queue: str) -> list[Path]:
        """The queue's messages, oldest first. Drafts and taken ones start with a dot."""
        ending = f".{queue}.msg"
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:  # somebody emptied the folder under us
            del self.folder
            return []
        return [self.folder / name for name in sorted(names) if name.endswith(ending) and not name.startswith(".")]


class Transport(filesystem.Transport):
    Channel = Channel
    global_state = filesystem.virtual.BrokerState()


TRANSPORT_ALIASES["files"] = "explorer.file_broker:Transport"
