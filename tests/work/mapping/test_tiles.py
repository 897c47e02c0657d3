"""A map's tiles in their file: read as a browser reads them, they hold every point once."""

import gzip
import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer import artifacts
from explorer.packed import tiles as tiles_form
from explorer.packed.tiles import STEPS, NoTile, TileFile
from explorer.work.mapping import quadtree
from explorer.work.mapping.legends import legends
from explorer.work.mapping.tiles import BARS, tile_file

pytestmark = pytest.mark.django_db
N, ROOM = 500, 100
Columns = dict[str, NDArray[Any]]


@pytest.fixture
def columns() -> Columns:
    random = np.random.default_rng(0)
    return {
        "x": random.random(N, np.float32),
        "y": np.sort(random.random(N, np.float32)),
        "part": random.integers(0, 3, N).astype(np.uint8),
        "index": random.permutation(N).astype(np.int32) * 1000,
        "cluster": random.integers(-1, 70_000, (3, N)).astype(np.int32),
        "rank": random.permutation(N).astype(np.int32),
        "density": random.random(N) ** 4,
        "maximum": random.random(N, np.float32),
    }


def kept(data: bytes) -> TileFile:
    return tiles_form.opened(artifacts.put(io.BytesIO(data), name="tiles").sha256)


@pytest.fixture
def file(columns: Columns, monkeypatch: pytest.MonkeyPatch) -> TileFile:
    monkeypatch.setattr(quadtree.tiles, "__defaults__", (ROOM, quadtree.DEEPEST))
    return kept(tile_file(columns, legends(columns)))


def read(name: str, data: bytes) -> list[dict[str, Any]]:
    """As explorer/packed/tiles.py says."""
    whole = gzip.decompress(data)
    n, grains = np.frombuffer(whole, "<u4", 2)
    kinds = [("index", "<u4", 1), ("x", "<u2", 1), ("y", "<u2", 1), ("cluster", "<u2", grains)]
    kinds += [(each, "|u1", 1) for each in ("part", *BARS)]
    at, found = 8, {}
    for column, kind, rows in kinds:
        numbers = np.frombuffer(whole, kind, n * rows, at)
        found[column] = numbers.reshape(rows, n).T if column == "cluster" else numbers
        at += numbers.nbytes
    assert at == len(whole)
    z, x, y = map(int, name.split("/"))
    places = {"x": (x + found["x"] / STEPS) / 2**z, "y": (y + found["y"] / STEPS) / 2**z}
    return [{column: numbers[each].tolist() for column, numbers in (found | places).items()} for each in range(n)]


def test_every_point_is_in_the_tiles_with_all_that_is_drawn(file: TileFile, columns: Columns) -> None:
    index = json.loads(gzip.decompress(file.index()))
    read_tiles = {name: read(name, file.points(name)) for name in index["tiles"]}
    assert len(read_tiles) > 5
    where = {int(each): number for number, each in enumerate(columns["index"])}
    bars = {name: legend.bar for name, legend in legends(columns).items()}
    points = {where[point["index"]]: point for some in read_tiles.values() for point in some}
    assert (index["n"], sum(map(len, read_tiles.values())), sorted(points)) == (N, N, list(range(N)))
    for number, point in points.items():
        assert point["x"] == pytest.approx(columns["x"][number], abs=2**-16)
        assert point["y"] == pytest.approx(columns["y"][number], abs=2**-16)
        assert point["part"] == columns["part"][number]
        assert point["cluster"] == [min(each + 1, 65_535) for each in columns["cluster"][:, number].tolist()]
        assert [point[name] for name in ("density", "maximum")] == [bars[name][number] for name in bars]
        assert point["mean"] == 0  # which is not known of these
    for name, some in read_tiles.items():
        ranks = [int(columns["rank"][where[point["index"]]]) for point in some]
        assert index["tiles"][name] == [len(some), ranks[0], ranks[-1]]


def test_pictures_are_named_that_are_there(file: TileFile) -> None:
    named = json.loads(gzip.decompress(file.index()))["density"]
    assert named == {"side": 512, "tiles": ["0/0/0"]}
    assert file.density("0/0/0").startswith(b"\x89PNG")


def test_the_same_columns_are_the_same_file(columns: Columns, file: TileFile) -> None:
    assert kept(tile_file(columns, legends(columns))).sha256 == file.sha256
    assert file.index()[4:8] == bytes(4)  # when it was zipped, which is not said


def test_each_is_read_back_as_it_was_written() -> None:
    points, density = {"0/0/0": b"first", "1/1/0": b"", "2/3/3": b"third"}, {"0/0/0": b"a picture"}
    file = kept(tiles_form.written(points, density, b"the index"))
    assert {name: file.points(name) for name in points} == points
    assert file.density("0/0/0") == b"a picture"
    assert file.index() == b"the index"
    for read_it in (file.points, file.density):
        with pytest.raises(NoTile, match=r"There is no tile 3/0/0\."):
            read_it("3/0/0")


def test_another_file_holds_no_tiles() -> None:
    with pytest.raises(ValueError, match="holds no tiles"):
        kept(b"another file altogether")
