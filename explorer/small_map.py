"""Where features lie on their SAE's newest map, in small: on a feature's page, and beside a list of them. Read number
by number, as these pages come by the hundred and a few places are all they show."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from explorer.artifacts import ArtifactMissing
from explorer.mapped import Reader, opened
from explorer.models import FeatureMap, Sae

NEAR = 6  # of the nearest, that are shown
LOOKED_FROM = 3  # doublings at which the large map opens


@dataclass(frozen=True, slots=True)
class Place:
    index: int
    x: str  # from 0 to 100, as they are written into a picture
    y: str
    near: list[tuple[str, str]]

    @property
    def near_written(self) -> str:
        return ";".join(f"{x},{y}" for x, y in self.near)


@dataclass(frozen=True, slots=True)
class SmallMap:
    picture: str  # its address
    n_points: int
    places: list[Place]
    href: str


def of_features(sae: Sae, indexes: Sequence[int]) -> SmallMap | None:
    """None where there is no map, or none of them is on it. `sae` as queries.library.sae_to_read gives it."""
    found = sae.newest_map
    part = next((each.number for each in found.parts.all() if each.sae_id == sae.pk), None) if found else None
    if found is None or part is None:
        return None
    try:
        with opened(found.points_id).reader() as read:
            numbers = ((index, read(f"place_{part}", index)[0]) for index in indexes)
            places = [_place(read, index, number) for index, number in numbers if number >= 0]
    except ArtifactMissing:  # all else of the page is there
        return None
    return _small(found, sae, part, places) if places else None


def _place(read: Reader, index: int, number: int) -> Place:
    near = [other for other in read("near", number) if other >= 0][:NEAR]
    return Place(index, *_written(read, number), [_written(read, other) for other in near])


def _written(read: Reader, number: int) -> tuple[str, str]:
    x, y = (100 * read(name, number)[0] for name in ("x", "y"))
    return f"{x:.2f}", f"{y:.2f}"


def _small(found: FeatureMap, sae: Sae, part: int, places: list[Place]) -> SmallMap:
    given = {"map": str(found.pk)}
    if len(places) == 1:
        (one,) = places
        given["at"] = f"{float(one.x) / 100:.4f},{float(one.y) / 100:.4f},{LOOKED_FROM}"
        given["feature"] = f"{part}-{one.index}"
    href = reverse("sae_map", args=[sae.slug], query=given)
    return SmallMap(reverse("map_density", args=[found.tiles_id, 0, 0, 0]), found.n_points, places, href)
