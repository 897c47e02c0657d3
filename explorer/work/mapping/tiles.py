"""A map's tiles, written once as they will be sent (packed/tiles.py)."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.packed import tiles as tiles_form
from explorer.work.mapping import density
from explorer.work.mapping.legends import Legend
from explorer.work.mapping.quadtree import Tile, tiles, within

CLUSTERS = (1 << 16) - 1  # of a grain, that a tile can tell apart
BARS = ("density", "maximum", "mean")

Array = NDArray[Any]


def tile_file(columns: Mapping[str, Array], legends: Mapping[str, Legend]) -> bytes:
    points, ranks = {}, {}
    for tile in tiles(columns["x"], columns["y"], columns["rank"]):
        points[tile.name] = _zipped(points_of(tile, columns, legends))
        rank = columns["rank"][tile.points]
        ranks[tile.name] = [len(rank), int(rank[0]), int(rank[-1])]
    pictures = dict(density.pictures(columns["x"], columns["y"]))
    index = {
        "n": len(columns["x"]),
        "tiles": ranks,
        "density": {"side": density.SIDE, "tiles": sorted(pictures)},
    }
    return tiles_form.written(points, pictures, _zipped(json.dumps(index, separators=(",", ":")).encode()))


def points_of(tile: Tile, columns: Mapping[str, Array], legends: Mapping[str, Legend]) -> bytes:
    some = tile.points
    clusters = columns["cluster"][:, some]
    none = np.zeros(len(some), np.uint8)
    written: list[Array] = [
        np.array([len(some), len(clusters)], "<u4"),
        columns["index"][some].astype("<u4"),
        within(columns["x"][some], tile.z, tile.x).astype("<u2"),
        within(columns["y"][some], tile.z, tile.y).astype("<u2"),
        np.minimum(clusters + 1, CLUSTERS).astype("<u2"),
        columns["part"][some],
        *(legends[name].bar[some] if name in legends else none for name in BARS),
    ]
    return b"".join(each.tobytes() for each in written)


def _zipped(data: bytes) -> bytes:
    """The same bytes for the same data, whenever."""
    return gzip.compress(data, 9, mtime=0)
