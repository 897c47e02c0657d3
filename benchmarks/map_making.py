"""What a map costs over plain UMAP: `python -m benchmarks.map_making`.

16,384 made-up directions of width 768: 20 themes, 400 subjects within them, and of its own each has between half of
what it has of its subject and three times that, so that nearest cosines differ as much as those of an SAE of the demo.
Ours is the whole map, from directions to neighbours, places, clusters and trustworthiness; plain is umap-learn's `UMAP`
on the same rows, of norm 1 already, with the same settings and a seed, which has it work in one thread; ours multiplies
matrices in all. Both take turns within one process; the first turn, of fewer points, has numba compile. Trustworthiness
of both is computed by the same function over the same points.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import machine
from sae_core.mapping.trust import trust_of
from sae_core.maps import MapConfig, make_map

POINTS, WIDTH, WARMING = 16_384, 768, 5000
THEMES, SUBJECTS, OF_SUBJECT, OF_ITS_OWN = 20, 400, 0.8, (0.5, 3.0)
SAMPLE = 4096
T = TypeVar("T")
BARS = {"over_plain": 1.1, "trustworthiness_difference": 0.01}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--rounds", type=int, default=3, help="beside the one that warms up")
    asked = parser.parse_args()
    load, on = machine.OtherLoad(), machine.describe()
    rows = _directions(asked.points, asked.width)
    _turn(rows[:WARMING], 0)
    turns = [_turn(rows, seed) for seed in range(asked.rounds)]
    busy = load.share()
    result = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    print(
        f"{machine.in_words(on)}, {torch.get_num_threads()} threads; other load took {busy:.0%} of it", file=sys.stderr
    )
    print(
        json.dumps(
            {
                "benchmark": "map_making",
                "machine": on,
                "other_load": busy,
                "points": asked.points,
                "width": asked.width,
                "rounds": asked.rounds,
                **result,
                "bars": BARS,
            }
        )
    )
    return 0


def _turn(rows: Tensor, seed: int) -> dict[str, float]:
    made, ours = _timed(lambda: make_map([rows], MapConfig(seed=seed)))
    places, plain = _timed(lambda: _plain(rows, seed))
    trusted = [_trust(rows, each) for each in (made.places, places)]
    seconds = made.about["seconds"]
    return {
        "ours": ours.wall,
        "plain": plain.wall,
        "over_plain": ours.wall / plain.wall,
        "processor_over_plain": ours.processor / plain.processor,
        "neighbours_and_layout_over_plain": (seconds["neighbours"] + seconds["layout"]) / plain.wall,
        "share_of_neighbours": seconds["neighbours"] / seconds["all"],
        "trustworthiness": trusted[0],
        "trustworthiness_plain": trusted[1],
        "trustworthiness_difference": trusted[0] - trusted[1],
    }


class Seconds(NamedTuple):
    wall: float
    processor: float  # of all threads


def _timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    wall, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, Seconds(time.perf_counter() - wall, time.process_time() - processor)


def _plain(rows: Tensor, seed: int) -> NDArray[np.float32]:
    model = import_module("umap").UMAP(n_neighbors=15, min_dist=0.05, metric="cosine", random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        return np.ascontiguousarray(model.fit_transform(rows.numpy()), np.float32)


def _trust(rows: Tensor, places: NDArray[np.float32]) -> float:
    return trust_of(rows, places, SAMPLE, 0, lambda done, total: None).trustworthiness


def _directions(n: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)

    def drawn(some: int) -> Tensor:
        return torch.randn(some, width, generator=generator)

    def chosen(of: int, some: int) -> Tensor:
        return torch.randint(of, (some,), generator=generator)

    subjects = drawn(THEMES)[chosen(THEMES, SUBJECTS)] + OF_SUBJECT * drawn(SUBJECTS)
    least, most = OF_ITS_OWN
    own = least * (most / least) ** torch.rand(n, 1, generator=generator)
    return normalize(subjects[chosen(SUBJECTS, n)] + own * drawn(n), dim=1)


if __name__ == "__main__":
    sys.exit(main())
