"""Pictures of density: what is seen is what was counted, and nothing where nothing lies."""

import struct
import zlib
from math import ceil, exp, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from explorer.work.mapping import density
from explorer.work.mapping.density import SIDE


def decoded(data: bytes) -> tuple[NDArray[np.uint8], bytes, bytes]:
    """The numbers of a PNG of one byte a pixel, without filters; its palette and what that is opaque by."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + content),)
        chunks[name] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 3, 0, 0, 0]  # of a palette, not interlaced
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:], chunks[b"PLTE"], chunks[b"tRNS"]


def test_a_picture_holds_what_was_put_in() -> None:
    opacity = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    pixels, palette, opacities = decoded(density.png(opacity))
    assert pixels.tolist() == opacity.tolist()
    assert opacities == bytes(range(256))
    assert palette == bytes(density.COLOUR) * 256


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), max_size=50))
def test_every_point_is_counted_in_its_pixel(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points, np.float32).reshape(-1, 2).T
    wanted = np.zeros((4, 4))
    for column, row in points:
        wanted[min(int(row * 4), 3), min(int(column * 4), 3)] += 1
    assert density.counted(x, y, 4).tolist() == wanted.tolist()


def test_a_point_becomes_a_bell() -> None:
    raster = np.zeros((41, 41), np.float32)
    raster[20, 18] = 3
    bell = density.blurred(raster, 2.0)
    assert bell.sum() == pytest.approx(3, rel=1e-5)
    for row, column in ((20, 18), (21, 18), (20, 20), (17, 21)):
        squared = (row - 20) ** 2 + (column - 18) ** 2
        assert bell[row, column] == pytest.approx(3 * exp(-squared / 8) / (2 * pi * 4), rel=5e-3)
    assert bell[20, :10].sum() == 0  # further than its reach


def test_nothing_comes_in_from_the_other_side() -> None:
    raster = np.zeros((30, 30), np.float32)
    raster[0, 0] = 1
    bell = density.blurred(raster, 2.0)
    assert not bell[8:].any()
    assert not bell[:, 8:].any()
    assert bell.sum() == pytest.approx(((1 + 1 / (2 * sqrt(2 * pi))) / 2) ** 2, rel=1e-2)  # a half of it each way


def test_a_point_alone_ends_where_its_bell_has_sunk_to_a_tenth() -> None:
    sigma, raster = 8.0, np.zeros((81, 81), np.float32)
    raster[40, 40] = 1
    opacity = density.opacities(density.blurred(raster, sigma), sigma)
    radius = sigma * sqrt(2 * log(10))
    seen = np.flatnonzero(opacity[40])
    assert (seen[0], seen[-1]) == (40 - int(radius), 40 + int(radius))
    assert opacity.max() == density.OPAQUE
    assert opacity[opacity > 0].min() >= density.FAINTEST
    assert (np.diff(opacity[40, 40:].astype(int)) <= 0).all()


def test_of_nothing_there_is_nothing() -> None:
    assert not density.opacities(np.zeros((5, 5), np.float32), 1.0).any()


@pytest.mark.parametrize(
    ("n", "depth"), [(1, 0), (SIDE**2 // 4, 0), (SIDE**2 // 4 + 1, 1), (10**6, 2), (4 * SIDE**2 + 1, 3), (10**9, 3)]
)
def test_it_is_as_sharp_as_there_are_points(n: int, depth: int) -> None:
    assert density.depth(n) == depth


def test_deeper_pictures_are_of_the_parts_where_something_lies() -> None:
    n = SIDE**2 // 4 + 1
    x, y = np.random.default_rng(0).uniform((0.1, 0.6), (0.4, 0.9), (n, 2)).astype(np.float32).T
    found = dict(density.pictures(x, y))
    assert sorted(found) == ["0/0/0", "1/0/1"]
    for name, scale in (("0/0/0", 1), ("1/0/1", 2)):
        pixels, _, _ = decoded(found[name])
        assert pixels.shape == (SIDE, SIDE)
        rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
        blur = ceil(3 * max(1.0, 0.6 * SIDE * scale / sqrt(n)) + 1)
        low, high = SIDE * scale * 0.1, SIDE * scale * 0.4
        assert low - blur <= columns[0] <= low + 2
        assert high - 2 <= columns[-1] <= high + blur
        below = SIDE if scale == 2 else 0  # of the picture, within the level
        assert SIDE * scale * 0.6 - blur <= rows[0] + below <= SIDE * scale * 0.6 + 2
        assert SIDE * scale * 0.9 - 2 <= rows[-1] + below <= SIDE * scale * 0.9 + blur
