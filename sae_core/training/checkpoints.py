"""A training as it stands, in one file that is whole or is not there."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from sae_core.errors import BadInput
from sae_core.training.config import CHECKPOINT

VERSION = 1
ABOUT = "sae_core_training"
PARTIAL = f".{CHECKPOINT}.partial"  # a folder, as safetensors writes files of names of its own before


class Checkpoint(NamedTuple):
    step: int
    made_with: dict[str, Any]  # what has to be the same for the training to go on
    tensors: Mapping[str, Tensor]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """In the place of the one before it, which stays where this one cannot be written."""
    path, partial = folder / CHECKPOINT, folder / PARTIAL / CHECKPOINT
    about = {"version": VERSION, "step": checkpoint.step, "made_with": checkpoint.made_with}
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: each.contiguous() for name, each in checkpoint.tensors.items()}
        save_file(kept, partial, metadata={ABOUT: json.dumps(about)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        before = f"the checkpoint before it is whole ({path})" if path.exists() else "there is none before it"
        raise BadInput(f"{path}: cannot be written ({error}); {before}. Is the disk full?") from error
    finally:
        sweep(folder)


def read(folder: Path) -> Checkpoint:
    path = folder / CHECKPOINT
    if not path.is_file():
        raise BadInput(f"{path}: missing; there is no training in {folder} to go on with")
    about = _about(path)
    try:
        tensors = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(_spoiled(path, str(error))) from error
    return Checkpoint(about["step"], about["made_with"], tensors)


def at_step(folder: Path) -> int | None:
    """The step of the checkpoint that lies there."""
    path = folder / CHECKPOINT
    return int(_about(path)["step"]) if path.is_file() else None


def sweep(folder: Path) -> None:
    """Takes away half a checkpoint, left by a training that was killed while it wrote one."""
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def _about(path: Path) -> dict[str, Any]:
    """What it says of itself, read without its tensors."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise BadInput(_spoiled(path, str(error))) from error
    kinds = {"version": int, "step": int, "made_with": dict}
    if not isinstance(about, dict) or any(not isinstance(about.get(name), kind) for name, kind in kinds.items()):
        raise BadInput(_spoiled(path, "its metadata is none of ours"))
    if about["version"] != VERSION:
        raise BadInput(f"{path}: version {about['version']}, this release reads {VERSION}; begin anew elsewhere")
    return about


def _spoiled(path: Path, why: str) -> str:
    return f"{path}: not a checkpoint of a training, or not whole: {why}; remove it and begin anew"
