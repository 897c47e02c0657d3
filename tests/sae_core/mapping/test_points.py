"""Who is on a map, and who is refused."""

import numpy as np
import pytest
import torch

from sae_core.errors import BadInput
from sae_core.mapping import points as module
from sae_core.mapping.points import points_of
from tests.sae_core.mapping.drawn import drawn


def test_silent_latents_and_rows_of_zeros_are_left_out_and_counted_apart() -> None:
    first, second = drawn(9, 1), drawn(7, 2)
    first[[2, 4]] = 0
    alive = np.ones(9, np.bool_)
    alive[[4, 8]] = False
    found = points_of([first, second], [alive, None])
    assert found.rows.tolist() == [0, 1, 3, 5, 6, 7, *range(9, 16)]
    assert found.sae.tolist() == [0] * 6 + [1] * 7
    assert (found.given, found.silent, found.without_direction) == (16, 2, 1)
    expected = torch.cat([first, second])[found.rows].double()
    expected /= expected.norm(dim=1, keepdim=True)
    assert found.unit.dtype == torch.float32
    torch.testing.assert_close(found.unit.double(), expected, rtol=0, atol=1e-6)


def test_rows_in_many_pieces_and_of_any_length_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drawn(23, 3).double()
    whole = points_of([rows], None).unit
    monkeypatch.setattr(module, "BLOCK_ROWS", 4)
    assert torch.equal(points_of([rows], None).unit, whole)
    scaled = rows.clone()
    scaled[0] *= 1e-30
    scaled[1] *= 1e30
    torch.testing.assert_close(points_of([scaled], None).unit, whole)
    assert torch.equal(points_of([rows.bfloat16()], None).unit, points_of([rows.bfloat16().float()], None).unit)


def test_an_sae_of_which_nothing_is_left_is_no_part() -> None:
    found = points_of([drawn(6, 1), drawn(4, 2), drawn(0, 3)], [None, np.zeros(4, np.bool_), None])
    assert found.sae.tolist() == [0] * 6
    assert found.silent == 4


def with_row(row: int, value: float) -> torch.Tensor:
    rows = drawn(8)
    rows[row, 3] = value
    return rows


@pytest.mark.parametrize(
    ("directions", "alive", "message"),
    [
        ([], None, "there is no SAE"),
        ([drawn(4)], None, "of 4 latents 4 fire, and 4 of those have a direction; a map needs at least 5 points"),
        (
            [torch.cat([drawn(5), torch.zeros(3, 16)])],
            [np.arange(8) > 0],
            "of 8 latents 7 fire, and 4 of those have a direction",
        ),
        ([drawn(6), drawn(6, d=8)], None, "SAE 2 writes 8 numbers and SAE 1 writes 16"),
        ([drawn(6)[0]], None, r"SAE 1 are \(16,\), expected \(n_latents, d_out\)"),
        ([drawn(8), with_row(5, float("nan"))], None, "row 5 of the decoder of SAE 2 holds NaN"),
        ([with_row(7, float("-inf"))], None, "row 7 of the decoder of SAE 1 holds infinity"),
        ([drawn(8)], [None, None], "of 2 SAEs which latents fire, and there are 1"),
        ([drawn(8), drawn(8)], [None, np.ones(7, np.bool_)], "SAE 2 has 8 latents, and of 7"),
        ([drawn(1).repeat(6, 1) * torch.arange(1, 7)[:, None]], None, "all 6 directions are the same"),
    ],
)
def test_refused(directions: list[torch.Tensor], alive: list[np.ndarray | None] | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        points_of(directions, alive)


def test_two_directions_are_enough() -> None:
    rows = drawn(2).repeat_interleave(3, 0)
    assert len(points_of([rows], None).rows) == 6
