"""A map's columns: the same features in the order of y, each known again by any of its numbers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from explorer.models import Collection, Sae
from explorer.work.mapping.columns import Part, columns, evidence_of
from explorer.work.mapping.places import in_unit_square
from sae_core import ArrayFile
from sae_core.maps import LaidOut
from tests.explored import SILENT, Read, read
from tests.laid_out import laid_out, place_of, smaller

__all__ = ["read", "smaller"]
TOKENS = 1000


@pytest.fixture
def parts(read: Read, smaller: Read) -> list[Part]:
    collection = Collection(tokens=TOKENS)
    return [
        Part(Sae(n_latents=each.sae.n_latents), collection, evidence_of(ArrayFile(each.evidence)))
        for each in (smaller, read)
    ]


@pytest.fixture
def laid(read: Read, smaller: Read) -> LaidOut:
    return laid_out([smaller.sae, read.sae])


@pytest.fixture
def found(laid: LaidOut, parts: list[Part]) -> dict[str, NDArray[Any]]:
    return columns(laid, parts)


def test_points_stand_in_the_order_of_y(laid: LaidOut, found: dict[str, NDArray[Any]]) -> None:
    n = len(laid.rows)
    of = [(0, index) for index in range(12) if index != SILENT] + [(1, index) for index in range(37) if index != SILENT]
    order = sorted(range(n), key=lambda number: (place_of(number, n)[1], number))
    assert order != list(range(n))
    assert list(zip(found["part"].tolist(), found["index"].tolist(), strict=True)) == [of[each] for each in order]
    places = [place_of(each, n) for each in order]
    assert found["x"].tolist() == pytest.approx([0.03 + 0.94 * column / 6 for column, _ in places], abs=1e-7)
    assert found["y"].tolist() == pytest.approx([0.03 + 0.94 * row / 6 for _, row in places], abs=1e-7)
    assert found["cluster"].tolist() == laid.clusters[:, order].tolist()
    assert found["cosine"].tolist() == laid.cosines[order].tolist()


def test_points_that_others_name_are_named_by_their_new_numbers(laid: LaidOut, found: dict[str, NDArray[Any]]) -> None:
    n = len(laid.rows)
    order = np.array(sorted(range(n), key=lambda number: (place_of(number, n)[1], number)))
    back = np.argsort(order)
    for number, before in enumerate(order):
        assert found["near"][number].tolist() == [back[other] for other in laid.neighbours[before]]
        parent = laid.parents[before]
        assert found["parent"][number] == (-1 if parent < 0 else back[parent])
    assert (found["parent"] >= 0).tolist() == (found["part"] == 1).tolist()


def test_a_feature_s_number_is_looked_up(found: dict[str, NDArray[Any]]) -> None:
    for part, n_latents in ((0, 12), (1, 37)):
        places = found[f"place_{part}"]
        assert [index for index in range(n_latents) if places[index] < 0] == [SILENT]
        for index in set(range(n_latents)) - {SILENT}:
            assert (found["part"][places[index]], found["index"][places[index]]) == (part, index)


def test_figures_are_those_of_the_evidence(found: dict[str, NDArray[Any]], parts: list[Part]) -> None:
    for number, (part, index) in enumerate(zip(found["part"], found["index"], strict=True)):
        file = parts[part].evidence
        assert file
        fired = int(file["n_fired"][index])
        assert found["density"][number] == fired / TOKENS
        assert found["maximum"][number] == file["max_act"][index]
        assert found["mean"][number] == np.float32(file["sum_act"][index] / fired)
        assert found["token"][number] == file["logit_top_id"][index, 0]


def test_what_is_not_known_of_each_is_left_out(laid: LaidOut, parts: list[Part]) -> None:
    one, other = parts
    assert not {"density", "maximum", "mean", "token"} & set(columns(laid, [one, Part(other.sae, None, None)]))


def test_ranks_are_drawn_once_for_all(laid: LaidOut, parts: list[Part], found: dict[str, NDArray[Any]]) -> None:
    assert sorted(found["rank"].tolist()) == list(range(len(laid.rows)))
    assert found["rank"].tolist() == columns(laid, parts)["rank"].tolist()
    assert found["rank"].tolist() != sorted(found["rank"].tolist())


def test_a_neighbour_that_is_none_stays_so(laid: LaidOut, parts: list[Part]) -> None:
    laid.neighbours[5, 2:] = -1
    place = columns(laid, parts)["place_0"][6]  # of the sixth point, as 3 is on no map
    assert columns(laid, parts)["near"][place].tolist()[2:] == [-1, -1]


def test_a_map_fills_its_square_and_keeps_its_shape() -> None:
    wide = np.array([[10, 2], [14, 3], [12, 2.5]], np.float32)
    assert in_unit_square(wide).tolist() == pytest.approx(
        np.array([[0.03, 0.5 - 0.94 / 8], [0.97, 0.5 + 0.94 / 8], [0.5, 0.5]]), abs=1e-7
    )
    assert in_unit_square(np.full((3, 2), 7, np.float32)).tolist() == [[0.5, 0.5]] * 3
