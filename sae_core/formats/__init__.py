"""The files that SAE libraries write: each recognised by itself, all read into one Sae.

A format is a module with NAME, FILES (what it is recognised by), `recognises` and `read`; two can be written too.
Nothing here executes what a file holds: no pickle but torch's reader of plain tensors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from warnings import warn

import torch
from torch import Tensor

from sae_core import devices
from sae_core.config import SaeConfig
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.formats import (
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    llama_scope,
    openai,
    ours,
    saelens,
    sparsify,
)
from sae_core.hub import local_path
from sae_core.sae import Sae


class Format(Protocol):
    @property
    def NAME(self) -> str: ...

    @property
    def FILES(self) -> tuple[str, ...]: ...

    def recognises(self, folder: Path, file: Path | None) -> bool: ...

    def read(self, folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]: ...


class WritableFormat(Format, Protocol):
    def write(self, sae: Sae, folder: Path) -> None: ...


# In this order: OpenAI's is any .pt that is not another's.
FORMATS: tuple[Format, ...] = (
    ours,
    saelens,
    gemma_scope_2,
    gemma_scope,
    llama_scope,
    sparsify,
    dictionary_learning,
    openai,
)
WRITERS: dict[str, WritableFormat] = {"ours": ours, "saelens": saelens}
# A weight file that was named itself stands for its folder; these alone are read by their own name.
READ_BY_NAME = (".npz", ".pt", ".pth")
NAMED = 8  # SAEs of a folder that an error names


def load_sae(path_or_hub_id: str | Path, *, device: str | None = None, dtype: torch.dtype | str | None = None) -> Sae:
    """The SAE of a folder, a weight file, or a hub id (`owner/repository/folder`), whatever library wrote it.

    `device` as `devices.pick` takes it; weights are float32 (float64 where the file holds that), or `dtype`. What
    cannot be used is refused by BadInput, which names file and tensor; what looks wrong warns with DoubtfulInput.
    """
    where, kind = devices.pick(device), None if dtype is None else devices.precision(dtype)
    path = local_path(path_or_hub_id, beside=("config.json",))
    format_, folder, file = recognise(path)
    try:
        config, tensors = format_.read(folder, file)
        sae = Sae(config, tensors)
    except BadInput as error:
        raise error if str(folder) in str(error) else BadInput(f"{path}: {error}") from error
    zero = (sae.W_dec == 0).all(dim=1).nonzero().flatten().tolist()
    if zero:
        which = ", ".join(map(str, zero[:10])) + (" …" if len(zero) > 10 else "")
        warn(
            f"{path}: W_dec has {len(zero)} rows of zeros ({which}); these latents write nothing",
            DoubtfulInput,
            stacklevel=2,
        )
    return sae.to(device=where, dtype=kind)


def recognise(path: Path) -> tuple[Format, Path, Path | None]:
    """The format of a file or folder, the folder it lies in, and the file where one was named."""
    folder = path if path.is_dir() else path.parent
    file = path if path.is_file() and path.suffix in READ_BY_NAME else None
    for each in FORMATS:
        if each.recognises(folder, file):
            return each, folder, file
    if path.name == "checkpoints" or folder.name == "checkpoints":  # Llama Scope's weights lie below its configuration
        return recognise(folder.parent)
    if path.is_dir() and (within := [str(each.relative_to(path)) for each in _saes_within(path)]):
        more = f" and {len(within) - NAMED} more" if len(within) > NAMED else ""
        raise BadInput(f"{path}: holds {len(within)} SAEs; name one: {', '.join(within[:NAMED])}{more}")
    held = ", ".join(sorted(each.name for each in folder.iterdir())[:NAMED]) or "nothing"
    known = "; ".join(f"{each.NAME}: {' + '.join(each.FILES)}" for each in FORMATS)
    raise BadInput(f"{path}: no SAE is recognised there. It holds {held}. What is read: {known}")


def _saes_within(folder: Path) -> Iterator[Path]:
    for each in sorted(each for each in folder.rglob("*") if each.is_dir()):
        if each.name != "checkpoints" and any(format_.recognises(each, None) for format_ in FORMATS):
            yield each


def save_sae(sae: Sae, folder: str | Path, *, format: str = "ours") -> Path:
    """Writes an SAE in our own format or in SAELens's; the folder is made, and must not hold another SAE."""
    if format not in WRITERS:
        raise BadInput(f"format {format!r} cannot be written, expected one of {', '.join(WRITERS)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for other in FORMATS:
        if other is not WRITERS[format] and other.recognises(folder, None):
            raise BadInput(f"{folder}: holds an SAE of {other.NAME} already; name an empty folder")
    WRITERS[format].write(sae, folder)
    return folder
