"""Parts of a map that somebody has chosen: what lies in a lasso or box, in a cluster, in a bar of a legend. How
addresses have them, and which points they hold."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explorer.mapped import File, numpy
from explorer.models import FeatureMap

if TYPE_CHECKING:
    from explorer.mapped import Array

MOST_CORNERS = 500
LONGEST = 30 * MOST_CORNERS  # characters
LOW, HIGH = -1.0, 2.0  # of a map that goes from 0 to 1: somebody may draw around it
CLUSTER = re.compile("([0-9])-(none|[0-9]{1,7})")
BAR = re.compile("(density|maximum|mean)-([0-9]{1,2})")
PART = re.compile("[0-9]{1,3}")

Corner = tuple[float, float]
Box = tuple[float, float, float, float]
Bar = tuple[str, float | None, float | None]


class NoArea(ValueError):
    """What is wrong with it, for whoever asked."""


@dataclass(frozen=True, slots=True)
class Area:
    """All that is given holds; nothing given is the whole map."""

    lasso: tuple[Corner, ...] | None = None
    box: Box | None = None  # left, top, right, bottom
    cluster: tuple[int, int] | None = None  # grain and number; -1: in none
    bar: Bar | None = None  # column; above the one, up to the other
    part: int | None = None


def numbers_of(text: str, count: int, says: str, low: float = LOW, high: float = HIGH) -> tuple[float, ...]:
    """So many, by commas."""
    try:
        numbers = tuple(float(each) for each in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(math.isfinite(each) and low <= each <= high for each in numbers):
        raise NoArea(says)
    return numbers


def lasso_of(text: str, found: FeatureMap) -> tuple[Corner, ...]:
    """Corners as x,y with _ between them."""
    corners = text.split("_")
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise NoArea(f"A lasso has 3 to {MOST_CORNERS} corners; this one has {len(corners)}.")
    pairs = (numbers_of(each, 2, "Corners are x,y with _ between them, from 0 to 1.") for each in corners)
    return tuple((x, y) for x, y in pairs)


def box_of(text: str, found: FeatureMap) -> Box:
    left, top, right, bottom = numbers_of(text, 4, "A box is left,top,right,bottom, from 0 to 1.")
    return left, top, right, bottom


def cluster_of(text: str, found: FeatureMap) -> tuple[int, int]:
    asked = CLUSTER.fullmatch(text)
    if asked is None:
        raise NoArea("A cluster is its grain and number, such as 1-12; or 1-none: what is in none.")
    grain, number = int(asked[1]), asked[2]
    if grain >= len(found.clusters):
        raise NoArea(f"This map has {len(found.clusters)} grains of clusters.")
    return grain, -1 if number == "none" else int(number)


def bar_of(text: str, found: FeatureMap) -> Bar:
    asked = BAR.fullmatch(text)
    if asked is None:
        raise NoArea("A bar is a legend and its number, such as density-3; there are density, maximum and mean.")
    name, place = asked[1], int(asked[2])
    bars = found.legends.get(name, [])
    if place >= len(bars):
        raise NoArea(f"There is no bar {place} of {name} here.")
    return name, bars[place]["low"], bars[place]["high"]


def part_of(text: str, found: FeatureMap) -> int:
    n = len(found.parts.all())
    if not PART.fullmatch(text) or int(text) >= n:
        raise NoArea(f"A part is the number of an SAE on this map, from 0 to {n - 1}.")
    return int(text)


WORDS: dict[str, Callable[[str, FeatureMap], Any]] = {
    "lasso": lasso_of, "box": box_of, "cluster": cluster_of, "bar": bar_of, "part": part_of,
}  # fmt: skip


def area_of(texts: Mapping[str, str | None], found: FeatureMap) -> tuple[Area, dict[str, str]]:
    """What of them can be understood; and by word, what is wrong with the others."""
    read, wrong = {}, {}
    for word, read_it in WORDS.items():
        try:
            if text := texts.get(word):
                read[word] = read_it(text, found)
        except NoArea as why:
            wrong[word] = str(why)
    return Area(**read), wrong


def points_in(file: File, area: Area) -> "Array":
    """The numbers of the points there, rising."""
    np = numpy()
    chosen: Array = np.ones(len(file["y"]), np.bool_)
    if area.lasso:
        chosen &= in_polygon(file["x"], file["y"], area.lasso)
    if area.box:
        left, top, right, bottom = np.asarray(area.box, np.float64)  # which single precision is not rounded to
        x, y = file["x"], file["y"]
        chosen &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    if area.cluster:
        grain, number = area.cluster
        chosen &= file["cluster"][grain] == number
    if area.bar:
        name, low, high = area.bar
        values = file[name]
        chosen &= True if low is None else values > np.float64(low)
        chosen &= True if high is None else values <= np.float64(high)
    if area.part is not None:
        chosen &= file["part"] == area.part
    found: Array = np.flatnonzero(chosen)
    return found


def in_polygon(x: "Array", y: "Array", corners: Sequence[Corner]) -> "Array":
    """By the even-odd rule. `y` rises, so an edge is held against those alone that lie between its ends: together a
    few times as many as the polygon is high, however many corners it has."""
    np = numpy()
    inside: Array = np.zeros(len(y), np.bool_)
    ends = np.searchsorted(y, np.asarray([corner[1] for corner in corners], np.float64))
    for this, (x1, y1) in enumerate(corners):
        x2, y2 = corners[this - 1]
        if y1 == y2:
            continue
        between = slice(*sorted((ends[this], ends[this - 1])))
        crossing = x1 + (y[between].astype(np.float64) - y1) / (y2 - y1) * (x2 - x1)
        inside[between] ^= x[between] < crossing
    return inside
