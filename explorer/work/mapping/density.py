"""How densely a map's points lie, as pictures of its parts: opaque where they are many, each level twice as sharp."""

import struct
import zlib
from collections.abc import Iterator
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

SIDE = 512  # pixels of a picture
DEEPEST = 3  # level, of 4096 pixels
# So many pixels as there are points at the deepest level, and no more blur there than their distance asks for.
LEAST_BLUR, OF_DISTANCE = 1.0, 0.6  # pixels; of the mean distance of points that were spread evenly
SUNK = 0.1
FULL = 99.8  # percentile of what is not empty that is opaque
FAINTEST, OPAQUE = 8, 210
COLOUR = (111, 134, 168)  # that can be seen on light paper and on dark

Raster = NDArray[np.float32]


def pictures(x: NDArray[np.float32], y: NDArray[np.float32]) -> Iterator[tuple[str, bytes]]:
    """By "z/x/y"; where nothing lies there is none."""
    for z in range(depth(len(x)) + 1):
        sigma = max(LEAST_BLUR, OF_DISTANCE * (SIDE << z) / sqrt(len(x)))
        opacity = opacities(blurred(counted(x, y, SIDE << z), sigma), sigma)
        for row in range(1 << z):
            for column in range(1 << z):
                part = opacity[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
                if part.any():
                    yield f"{z}/{column}/{row}", png(part)


def depth(n: int) -> int:
    return next((z for z in range(DEEPEST) if (SIDE << z) ** 2 >= 4 * n), DEEPEST)


def counted(x: NDArray[np.float32], y: NDArray[np.float32], side: int) -> Raster:
    """Points in each pixel.  # (side, side), rows are y"""
    column, row = (np.clip((each * side).astype(np.int64), 0, side - 1) for each in (x, y))
    return np.bincount(row * side + column, minlength=side * side).reshape(side, side).astype(np.float32)


def blurred(raster: Raster, sigma: float) -> Raster:
    """By a Gaussian, one axis after the other; nothing comes in from beyond the edges."""
    reach = int(3 * sigma + 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for _ in range(2):
        padded = np.pad(raster, [(reach, reach), (0, 0)])
        raster = np.zeros_like(raster)
        for at, weight in enumerate(kernel):
            raster += weight * padded[at : at + len(raster)]
        raster = np.ascontiguousarray(raster.T)  # the other axis; twice it is as it was
    return raster


def opacities(raster: Raster, sigma: float) -> NDArray[np.uint8]:
    """By the logarithm, as a cluster may be a thousand times as dense as what lies between. A point alone ends where
    its bell has sunk to a tenth."""
    least = SUNK / (2 * pi * sigma**2)
    seen = raster > least
    if not seen.any():
        return np.zeros(raster.shape, np.uint8)
    logs = np.log(np.maximum(raster, least) / least)
    share = np.clip(logs / np.percentile(logs[seen], FULL), 0, 1)
    return np.where(seen, FAINTEST + (OPAQUE - FAINTEST) * share, 0).astype(np.uint8)


def png(opacity: NDArray[np.uint8]) -> bytes:
    """Of one colour, by a palette of 256 opacities.  # (height, width)"""
    height, width = opacity.shape
    rows = np.zeros((height, width + 1), np.uint8)  # before each row its filter, which is none
    rows[:, 1:] = opacity
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header), (b"PLTE", bytes(COLOUR) * 256), (b"tRNS", bytes(range(256))),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""),
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
