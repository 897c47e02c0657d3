"""`python -m sae_core map`."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

import sae_core  # loads torch when it is asked for something, not before
from sae_core.array_files import write_arrays

MAP = "map.safetensors"
FORMAT = 1
ARRAYS = ("rows", "places", "neighbours", "cosines", "parents", "clusters")


def add_arguments(each: argparse.ArgumentParser) -> None:
    each.add_argument("--sae", required=True, nargs="+", metavar="SAE", help="several, of one hookpoint: a joint map")
    each.add_argument(
        "--evidence", nargs="+", metavar="FILE", help="of each SAE what collect wrote; the silent are left out"
    )
    each.add_argument("--out", required=True, metavar="FOLDER", help=f"{MAP} is written there")
    each.add_argument("--method", choices=("umap", "tsne"), default="umap")
    each.add_argument("--neighbours", type=int, default=15, metavar="N", help="of umap, itself included (as is: 15)")
    each.add_argument("--min-dist", type=float, default=0.05, metavar="X", help="of umap (as is: 0.05)")
    each.add_argument("--perplexity", type=float, default=30.0, metavar="X", help="of tsne (as is: 30)")
    each.add_argument("--seed", type=int, default=0, metavar="N")


def run(given: argparse.Namespace) -> dict[str, Any]:
    config = sae_core.MapConfig(given.method, given.neighbours, given.min_dist, given.perplexity, given.seed)
    saes = [sae_core.load_sae(each) for each in given.sae]
    evidence = [sae_core.ArrayFile(each) for each in given.evidence or ()]
    if evidence and len(evidence) != len(saes):
        raise sae_core.BadInput(f"{len(evidence)} files of evidence for {len(saes)} SAEs, expected one for each")
    with tqdm(disable=None) as bar:

        def on_step(done: int, total: int, what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.total = total or None
            bar.n = done
            bar.refresh()

        made = sae_core.make_map(
            [sae.W_dec for sae in saes],
            config,
            alive=[each["n_fired"] > 0 for each in evidence] or None,
            known=sae_core.known_neighbours(*evidence) if len(evidence) == 1 else None,
            on_step=on_step,
        )
    out = Path(given.out) / MAP
    figures = {
        "trustworthiness": made.trustworthiness,
        "trusted_on": made.trusted_on,
        "clusters": [int(grain.max()) + 1 for grain in made.clusters],
        "unclustered": [int((grain < 0).sum()) for grain in made.clusters],
    }
    about = {"format": FORMAT, "kind": "map", "saes": given.sae, **made.about, **figures}
    write_arrays(out, {name: getattr(made, name) for name in ARRAYS}, about)
    return about | {"out": str(out)}
