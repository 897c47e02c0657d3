"""Celery's filesystem transport, made to outlive torn files and killed readers.

The stock one writes messages in place (a reader may meet half of one), raises on a file it cannot
parse (which ends the worker), and takes a message by moving it to the system's temporary folder
(where a killed reader leaves it).
"""

import contextlib
import logging
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    @property
    def folder(self) -> Path:
        """Made anew where somebody has removed it meanwhile."""
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
                return _message(taken.read_bytes())
            except ValueError as wrong:
                # Half a file, or another program's. The row that it stood for is rung for again.
                log.warning("%s holds no message (%s); thrown away", path, wrong)
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
        folder = self.folder
        names = sorted(os.listdir(folder))
        return [folder / name for name in names if name.endswith(ending) and not name.startswith(".")]


def _message(content: bytes) -> dict[str, Any]:
    message = loads(content.decode())
    if not isinstance(message, dict):
        raise ValueError("no object")
    parts = ("body", str), ("headers", dict), ("properties", dict)
    for name, kind in parts:
        if not isinstance(message.get(name), kind):
            raise ValueError(f"no {name}")
    if not isinstance(message["properties"].get("delivery_info"), dict):
        raise ValueError("no delivery_info")
    return message


class Transport(filesystem.Transport):
    Channel = Channel
    global_state = filesystem.virtual.BrokerState()


TRANSPORT_ALIASES["files"] = "explorer.file_broker:Transport"
