"""Letting another user through to a folder, by the least that does it, and taking it back.

PostgreSQL refuses to run as root, so under root it runs as a user of its own, who must reach the
data folder and the installed binaries. Where a folder above them is closed to others it is opened for
passing through only (o+x: no listing, no reading), noted in a file, and closed again at the end.
"""

import json
import os
import stat
from pathlib import Path


def open_to_others(note: Path, *targets: Path) -> list[Path]:
    """Returns the folders it widened; `note` lists every one until close_again, kills included."""
    widened = _read(note)
    opened = []
    for target in targets:
        for folder in target.resolve().parents:
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not mode & stat.S_IXOTH:
                widened.setdefault(str(folder), mode)
                _write(note, widened)
                folder.chmod(mode | stat.S_IXOTH)
                opened.append(folder)
    return opened


def close_again(note: Path) -> None:
    for name, mode in _read(note).items():
        folder = Path(name)
        # Somebody may have changed it meanwhile; only what we gave is taken back.
        if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) == mode | stat.S_IXOTH:
            folder.chmod(mode)
    note.unlink(missing_ok=True)


def _read(note: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads(note.read_text())
        return found
    except FileNotFoundError:
        return {}


def _write(note: Path, widened: dict[str, int]) -> None:
    draft = note.with_suffix(".draft")
    draft.write_text(json.dumps(widened))
    os.replace(draft, note)
