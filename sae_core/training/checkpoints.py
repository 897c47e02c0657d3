"""A training as it stands, in one file that is whole or is not there."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.training.config import CHECKPOINT

VERSION = 1
ABOUT = "sae_core_training"


def write(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """In the place of the one before it, which stays where this one cannot be written."""
    path, partial = folder / CHECKPOINT, folder / f".{CHECKPOINT}.partial"
    try:
        kept = {name: each.contiguous() for name, each in tensors.items()}
        save_file(kept, partial, metadata={ABOUT: json.dumps({"version": VERSION, **about})})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        before = f"the checkpoint before it is whole ({path})" if path.exists() else "there is none before it"
        raise BadInput(f"{path}: cannot be written ({error}); {before}. Is the disk full?") from error


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = folder / CHECKPOINT
    if not path.is_file():
        raise BadInput(f"{path}: missing; there is no training in {folder} to go on with")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
        tensors = load_file(path)
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise BadInput(f"{path}: not a checkpoint of a training, or not whole: {error}") from error
    if about.get("version") != VERSION:
        raise BadInput(f"{path}: version {about.get('version')}, this release reads {VERSION}; begin anew")
    return tensors, about


def at_step(folder: Path) -> int | None:
    """The step of the checkpoint that lies there."""
    return int(read(folder)[1]["step"]) if (folder / CHECKPOINT).is_file() else None
