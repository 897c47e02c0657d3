"""A map's tiles in one file, each as it is sent.

    "EXPLMAP1", the length of what follows (uint32), a JSON object of
        "points": {"z/x/y": [offset, bytes]}      "density": {"z/x/y": [offset, bytes]}
        "index": [offset, bytes]
    then all of these, one after the other; offsets count from the end of the object

The index, gzipped JSON, is what a browser reads first: which tiles there are, and of those of points how many each has
and between which ranks. A tile at depth z is one of 4^z squares of the map. Every point is in one tile: those of the
lowest ranks in the first, what that has no room for a level deeper. Ranks are drawn by lot, and points of a tile stand
in their order, so that all points below a rank are a fair sample, of any part of the map.

A tile of points, gzipped, little-endian, by columns (n each):
    n, grains (uint32); index (uint32); x, y (uint16, within the tile), clusters (uint16 for each grain, 0 for none);
    part, density, maximum, mean (uint8: bars of the map's legends)

A tile of density is a picture, PNG, whose opacity is how many points lie there.
"""

import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from explorer import artifacts

MAGIC = b"EXPLMAP1"
HEAD = struct.Struct("<8sI")
STEPS = 1 << 16  # of a coordinate within a tile
KEPT = 32  # files whose heads are at hand


class NoTile(LookupError):
    """There is none by this name."""


@dataclass(frozen=True, slots=True)
class TileFile:
    sha256: str
    head: dict[str, Any]
    data_at: int

    def points(self, name: str) -> bytes:
        return self._at(self.head["points"].get(name), name)

    def density(self, name: str) -> bytes:
        return self._at(self.head["density"].get(name), name)

    def index(self) -> bytes:
        return self._at(self.head["index"], "index")

    def _at(self, place: list[int] | None, name: str) -> bytes:
        if place is None:
            raise NoTile(f"There is no tile {name}.")
        offset, length = place
        with artifacts.path(self.sha256).open("rb") as file:
            file.seek(self.data_at + offset)
            return file.read(length)


def written(points: dict[str, bytes], density: dict[str, bytes], index: bytes) -> bytes:
    at = 0
    head: dict[str, Any] = {"points": {}, "density": {}}
    for kind, tiles in (("points", points), ("density", density)):
        for name, data in tiles.items():
            head[kind][name] = [at, len(data)]
            at += len(data)
    head["index"] = [at, len(index)]
    text = json.dumps(head).encode()
    return b"".join([HEAD.pack(MAGIC, len(text)), text, *points.values(), *density.values(), index])


@lru_cache(KEPT)
def opened(sha256: str) -> TileFile:
    with artifacts.path(sha256).open("rb") as file:
        magic, length = HEAD.unpack(file.read(HEAD.size))
        if magic != MAGIC:
            raise ValueError(f"artifact {sha256} holds no tiles")
        return TileFile(sha256, json.loads(file.read(length)), HEAD.size + length)
