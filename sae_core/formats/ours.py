"""Ours: sae.json, what the SAE is, and sae.safetensors, its tensors under the names of the Sae class."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from sae_core.config import FIELDS, Family, Normalise, SaeConfig
from sae_core.errors import BadInput
from sae_core.formats.fields import read_fields
from sae_core.sae import Sae, expected_shapes
from sae_core.tensor_files import open_safetensors

NAME = "sae_core"
FILES = ("sae.json", "sae.safetensors")
VERSION = 1


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "sae.json").is_file() and file is None


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "sae.json")
    if fields.whole("version") > VERSION:
        raise BadInput(f"{fields.path}: version {fields.values['version']}, this release reads {VERSION} and before")
    values = fields.within("config").values
    if unknown := sorted(set(values) - FIELDS):
        raise BadInput(f"{fields.path}: config has unknown {', '.join(unknown)}")
    try:
        known = {"family": Family(values["family"]), "normalise": Normalise(values.get("normalise", "none"))}
        config = SaeConfig(**{**values, **known, "prefixes": tuple(values.get("prefixes", ()))})
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{fields.path}: config cannot be used: {error}") from error
    weights = folder / "sae.safetensors"
    shapes = expected_shapes(config)
    if not shapes:
        return config, {}
    tensors = open_safetensors(weights)
    if "W_skip" in tensors:
        shapes["W_skip"] = (config.d_in, config.d_out)
    tensors.expect(shapes)
    if _sha256(weights) != fields.text("sha256"):
        raise BadInput(f"{weights}: its sha256 is not the one in sae.json; the file has changed since it was written")
    return config, tensors.take_all(shapes)


def write(sae: Sae, folder: Path) -> None:
    tensors = {name: tensor.cpu().contiguous() for name, tensor in sae.tensors().items()}
    weights = folder / "sae.safetensors"
    if tensors:
        save_file(tensors, weights)
    described = {
        "version": VERSION,
        "config": asdict(sae.config),
        "sha256": _sha256(weights) if tensors else "",
    }
    (folder / "sae.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
