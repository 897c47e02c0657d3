"""Parts of a map that somebody has chosen: what lies in a lasso or box, in a cluster, in a bar of a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.mapped import File, numpy

if TYPE_CHECKING:
    from explorer.mapped import Array

Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Area:
    """All that is given holds; nothing given is the whole map."""

    lasso: tuple[Corner, ...] = ()
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom
    cluster: tuple[int, int] | None = None  # grain and number; -1: in none
    bar: tuple[str, float | None, float | None] | None = None  # column; above the one, up to the other
    part: int | None = None

    @property
    def any(self) -> bool:
        return self != Area()


def points_in(file: File, area: Area) -> "Array":
    """The numbers of the points there, rising."""
    np = numpy()
    chosen: Array = np.ones(len(file["y"]), np.bool_)
    if area.lasso:
        chosen &= in_polygon(file["x"], file["y"], area.lasso)
    if area.box:
        left, top, right, bottom = area.box
        x, y = file["x"], file["y"]
        chosen &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    if area.cluster:
        grain, number = area.cluster
        chosen &= file["cluster"][grain] == number
    if area.bar:
        name, low, high = area.bar
        values = file[name]
        chosen &= True if low is None else values > low
        chosen &= True if high is None else values <= high
    if area.part is not None:
        chosen &= file["part"] == area.part
    found: Array = np.flatnonzero(chosen)
    return found


def in_polygon(x: "Array", y: "Array", corners: Sequence[Corner]) -> "Array":
    """By the even-odd rule. `y` rises, so an edge is held against those alone that lie between its ends: together a
    few times as many as the polygon is high, however many corners it has."""
    np = numpy()
    inside: Array = np.zeros(len(y), np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y1 == y2:
            continue
        low, high = np.searchsorted(y, np.asarray(sorted((y1, y2)), np.float64))
        crossing = x1 + (y[low:high].astype(np.float64) - y1) * ((x2 - x1) / (y2 - y1))
        inside[low:high] ^= x[low:high] < crossing
    return inside
