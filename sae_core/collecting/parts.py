"""One part of a collection in a file: what was kept of some of the contexts, of latents that fired, and all firings."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sae_core.array_files import ArrayFile, Writable, write_arrays
from sae_core.collecting.accumulators import Accumulators, Figures, Lists, Neurons
from sae_core.collecting.histogram import Entries, Histogram
from sae_core.collecting.kept import WindowRows
from sae_core.collecting.spill import Spill
from sae_core.collecting.tables import Rows
from sae_core.errors import BadInput

FORMAT, KIND = 1, "part"


def write_part(path: Path, kept: Accumulators, spill: Spill, about: dict[str, Any]) -> None:
    fired = np.flatnonzero(kept.figures.n_fired)
    arrays: dict[str, Writable] = {"fired": fired}
    arrays |= {f"figures_{each.name}": getattr(kept.figures, each.name)[fired] for each in fields(Figures)}
    arrays |= {f"histogram_{name}": array for name, array in kept.histogram.entries._asdict().items()}
    for name, rows in vars(kept.lists).items():
        arrays |= {f"{name}_{column.name}": getattr(rows, column.name) for column in fields(rows)}
    # A 64-bit hash has no sign, and the file knows signed numbers of that width alone.
    arrays["distinct_window"] = kept.lists.distinct.window.view(np.int64)
    if kept.neurons:
        arrays |= {
            "neurons_products": kept.neurons.products[fired],
            "neurons_sums": kept.neurons.sums,
            "neurons_squares": kept.neurons.squares,
        }
    about = about | {
        "format": FORMAT,
        "kind": KIND,
        "latents": kept.n_latents,
        "top_k": kept.top_k,
        "tokens": kept.tokens,
        "masked": kept.masked,
    }
    write_arrays(path, arrays | spill.arrays(), about)


def open_part(path: Path) -> ArrayFile:
    part = ArrayFile(path)
    found = part.about.get("format"), part.about.get("kind")
    if found != (FORMAT, KIND):
        raise BadInput(f"{path}: {found[1]} of format {found[0]}, expected a part of a collection of format {FORMAT}")
    return part


def kept_in(part: ArrayFile) -> Accumulators:
    n_latents, fired = int(part.about["latents"]), part["fired"]
    figures = Figures.none(n_latents)
    for each in fields(Figures):
        getattr(figures, each.name)[fired] = part[f"figures_{each.name}"]
    lists = Lists(
        **{
            name: _rows(part, name, WindowRows if name == "distinct" else Rows)
            for name in (each.name for each in fields(Lists))
        }
    )
    neurons = None
    if "neurons_sums" in part:
        neurons = Neurons.none(n_latents, len(part["neurons_sums"]))
        neurons.products[fired] = part["neurons_products"]
        neurons.sums += part["neurons_sums"]
        neurons.squares += part["neurons_squares"]
    entries = Entries(*(np.array(part[f"histogram_{name}"]) for name in Entries._fields))
    kept = Accumulators(
        n_latents,
        int(part.about["top_k"]),
        figures=figures,
        histogram=Histogram(entries),
        lists=lists,
        neurons=neurons,
    )
    kept.tokens, kept.masked = int(part.about["tokens"]), int(part.about["masked"])
    return kept


def _rows(part: ArrayFile, name: str, kind: type[Rows]) -> Any:
    columns = {column.name: np.array(part[f"{name}_{column.name}"]) for column in fields(kind)}
    if kind is WindowRows:
        columns["window"] = columns["window"].view(np.uint64)
    return kind(**columns)
