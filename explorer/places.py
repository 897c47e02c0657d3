"""Where things lie in the data folder. Nothing here touches the disk.

What must survive stands at the top of the folder; what may go when nothing runs stands in `run/`,
which the supervisor empties when it starts and removes when it stops.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
LONGEST_SOCKET_PATH = 103
SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True)
class Places:
    data: Path

    @property
    def secret_key(self) -> Path:
        return self.data / "secret_key"

    @property
    def postgres(self) -> Path:
        """The embedded server's cluster."""
        return self.data / "postgres"

    @property
    def artifacts(self) -> Path:
        return self.data / "artifacts"

    @property
    def cache(self) -> Path:
        """Local copies of artifacts that are kept elsewhere."""
        return self.data / "cache"

    @property
    def static(self) -> Path:
        """Scripts and styles under hashed names, collected at each start."""
        return self.data / "static"

    @property
    def log(self) -> Path:
        return self.data / "log"

    @property
    def unfinished_restore(self) -> Path:
        """Present while `manage.py restore` works; what it left half-done must not be served."""
        return self.data / "unfinished-restore"

    @property
    def lock(self) -> Path:
        """Held by whoever runs the embedded server: the supervisor, or a command working alone."""
        return self.data / "lock"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def scratch(self) -> Path:
        """Where jobs put together what becomes an artifact or rows."""
        return self.run / "scratch"

    @property
    def broker(self) -> Path:
        return self.run / "broker"

    @property
    def uploads(self) -> Path:
        """What is still being sent; on the disk that will keep it, as /tmp may be small."""
        return self.run / "uploads"

    @property
    def widened(self) -> Path:
        """Folders that another user was let through, with the modes to put back."""
        return self.data / "widened.json"

    @property
    def socket(self) -> Path:
        """The folder of the embedded server's socket; a short one elsewhere where ours is too deep."""
        here = self.run / "postgres"
        if len(os.fsencode(here / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return here
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"explorer-{name}"
