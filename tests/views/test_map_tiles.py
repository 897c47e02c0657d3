"""A map's tiles as they are sent: the file's own bytes, kept by browsers for ever, for those who may read."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer import artifacts
from explorer.actions.collections import remove_map
from explorer.packed.tiles import HEAD
from tests.laid_out import OnMap

pytestmark = pytest.mark.django_db
FOR_EVER = "private, max-age=31536000, immutable"


@pytest.fixture
def tiles(on_map: OnMap) -> str:
    return f"/maps/tiles/{on_map.map.tiles_id}/"


class Kept:
    """The file, read by what explorer/packed/tiles.py says of it."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        magic, length = HEAD.unpack_from(self.data)
        assert magic == b"EXPLMAP1"
        self.head: dict[str, Any] = json.loads(self.data[HEAD.size : HEAD.size + length])
        self.at = HEAD.size + length

    def __getitem__(self, place: list[int]) -> bytes:
        start, length = place
        return self.data[self.at + start : self.at + start + length]


@pytest.fixture
def kept(on_map: OnMap) -> Kept:
    return Kept(artifacts.path(on_map.map.tiles_id))


def get(client: Client, address: str, encoding: str = "gzip, deflate, br") -> Any:
    return client.get(address, headers={"Accept-Encoding": encoding})


def test_they_are_the_file_s_own_bytes(looking: Client, tiles: str, kept: Kept) -> None:
    answer = get(looking, f"{tiles}index.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.content == kept[kept.head["index"]]
    index = json.loads(gzip.decompress(answer.content))
    assert (index["n"], set(index["tiles"])) == (36, set(kept.head["points"]))
    assert set(index["density"]["tiles"]) == set(kept.head["density"])
    for name, place in kept.head["points"].items():
        answer = get(looking, f"{tiles}points/{name}")
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.content == kept[place]
        n, grains = struct.unpack_from("<2I", gzip.decompress(answer.content))
        assert (n, grains) == (index["tiles"][name][0], 3)
    for name, place in kept.head["density"].items():
        answer = get(looking, f"{tiles}density/{name}.png")
        assert (answer.headers["Content-Type"], answer.content) == ("image/png", kept[place])
        assert answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize("rest", ["index.json", "points/0/0/0"])
def test_they_are_unzipped_for_whoever_takes_nothing_zipped(looking: Client, tiles: str, rest: str) -> None:
    zipped, plain = get(looking, f"{tiles}{rest}"), get(looking, f"{tiles}{rest}", "identity")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert plain.content == gzip.decompress(zipped.content)
    for answer, size in ((zipped, len(zipped.content)), (plain, len(plain.content))):
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert answer.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("rest", ["index.json", "points/0/0/0", "density/0/0/0.png"])
def test_a_browser_keeps_them_for_ever(looking: Client, tiles: str, rest: str) -> None:
    answer = get(looking, f"{tiles}{rest}")
    assert answer.headers["Cache-Control"] == FOR_EVER
    assert looking.head(f"{tiles}{rest}").status_code == 200


@pytest.mark.parametrize("rest", ["points/0/1/0", "points/1/0/9", "points/21/0/0", "points/0/0/-1", "points/0/0/0.png",
                                  "points/0/0", "points/x/0/0", "points/9999999999999999999/0/0", "density/4/0/0.png",
                                  "density/0/0/0", "density/0/0/0.jpg", "points/0/0/0/", "index"])  # fmt: skip
def test_what_is_no_tile_is_not_found(looking: Client, tiles: str, rest: str) -> None:
    assert get(looking, f"{tiles}{rest}").status_code == 404


@pytest.mark.parametrize("rest", ["index.json", "points/0/0/0", "density/0/0/0.png"])
def test_another_file_holds_no_tiles(looking: Client, on_map: OnMap, rest: str) -> None:
    for sha256 in (on_map.map.points_id, on_map.explored.collection.evidence_id, "0" * 64):
        assert get(looking, f"/maps/tiles/{sha256}/{rest}").status_code == 404
    for name in ("0" * 63, "..", on_map.map.tiles_id.upper()):
        assert get(looking, f"/maps/tiles/{name}/{rest}").status_code == 404


@pytest.mark.parametrize("rest", ["index.json", "points/0/0/0", "density/0/0/0.png"])
def test_who_may_not_read_may_not_fetch(client: Client, tiles: str, rest: str, settings: Settings) -> None:
    answer = get(client, f"{tiles}{rest}")
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["Location"].startswith("/sign-in/?next=/maps/tiles/")
    assert "immutable" not in answer.headers.get("Cache-Control", "")
    settings.OPEN_READING = True
    assert get(client, f"{tiles}{rest}").status_code == 200


@pytest.mark.parametrize("rest", ["index.json", "points/0/0/0", "density/0/0/0.png"])
def test_what_has_gone_is_not_found(
    looking: Client, on_map: OnMap, tiles: str, rest: str, django_capture_on_commit_callbacks: Any
) -> None:
    """Also by a process that has read of it before."""
    assert get(looking, f"{tiles}{rest}").status_code == 200
    path = artifacts.path(on_map.map.tiles_id)
    path.rename(path.with_suffix(".away"))
    assert get(looking, f"{tiles}{rest}").status_code == 404
    path.with_suffix(".away").rename(path)
    with django_capture_on_commit_callbacks(execute=True):
        remove_map(on_map.map.pk)
    assert get(looking, f"{tiles}{rest}").status_code == 404


def test_a_tile_costs_little(looking: Client, tiles: str, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(3):  # session, user; whether there is such a map
        get(looking, f"{tiles}points/0/0/0")
