"""What is known of a map's points, in columns that a web process maps (explorer/map_points.py): sorted by y, so that
of a polygon only what lies between the ends of each edge is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.models import Collection, Sae
from explorer.work.mapping.places import in_unit_square
from sae_core import ArrayFile
from sae_core.maps import LaidOut

SEED = 0x5EED  # of ranks
EVIDENCE = ("n_fired", "sum_act", "max_act", "logit_top_id", "neighbour", "neighbour_cosine")

Array = NDArray[Any]
Columns = dict[str, Array]


@dataclass(frozen=True)
class Part:
    """An SAE whose features are laid out, and what was collected of them."""

    sae: Sae
    collection: Collection | None
    evidence: Columns | None  # of all its latents: EVIDENCE

    @property
    def alive(self) -> NDArray[np.bool_] | None:
        return None if self.evidence is None else np.asarray(self.evidence["n_fired"]) > 0


def evidence_of(file: ArrayFile) -> Columns:
    """Mapped at once, as whoever removes or reads the SAE anew while a map is made takes the file away."""
    return {name: file[name] for name in EVIDENCE if name in file}


def columns(laid: LaidOut, parts: Sequence[Part]) -> Columns:
    unit = in_unit_square(laid.places)
    order = np.lexsort((laid.rows, unit[:, 1]))
    number = np.empty(len(order), np.int32)  # of each point, in this order
    number[order] = np.arange(len(order), dtype=np.int32)
    offsets = np.cumsum([0, *(part.sae.n_latents for part in parts)])
    part = (np.searchsorted(offsets, laid.rows, side="right") - 1)[order]
    index = laid.rows[order] - offsets[part]
    found: Columns = {
        "x": unit[order, 0],
        "y": unit[order, 1],
        "part": part.astype(np.uint8),
        "index": index.astype(np.int32),
        "cluster": laid.clusters[:, order],
        "near": _renumbered(laid.neighbours, number)[order],
        "cosine": laid.cosines[order],
        "parent": _renumbered(laid.parents, number)[order],
        "rank": np.random.default_rng(SEED).permutation(len(order)).astype(np.int32),
    }
    for name, values in _of_evidence(parts).items():
        found[name] = np.concatenate(values)[laid.rows][order]
    for which, each in enumerate(parts):
        places = np.full(each.sae.n_latents, -1, np.int32)
        here = np.flatnonzero(part == which)
        places[index[here]] = here
        found[f"place_{which}"] = places
    return found


def _renumbered(points: NDArray[np.int32], number: NDArray[np.int32]) -> NDArray[np.int32]:
    """-1 stays what it is."""
    return np.where(points >= 0, number[points], np.int32(-1))


def _of_evidence(parts: Sequence[Part]) -> dict[str, list[Array]]:
    """Of all latents; nothing of a kind that is not known of each of the SAEs."""
    found: dict[str, list[Array]] = {}
    for part in parts:
        file = part.evidence
        if file is None or part.collection is None:
            return {}
        fired = np.asarray(file["n_fired"])
        mean = np.asarray(file["sum_act"]) / np.maximum(fired, 1)
        top = file["logit_top_id"][:, 0] if "logit_top_id" in file else np.full(len(fired), -1)
        found.setdefault("density", []).append((fired / max(part.collection.tokens, 1)).astype(np.float64))
        found.setdefault("maximum", []).append(np.asarray(file["max_act"], np.float32))
        found.setdefault("mean", []).append(mean.astype(np.float32))
        found.setdefault("token", []).append(np.asarray(top, np.int32))
    return found
