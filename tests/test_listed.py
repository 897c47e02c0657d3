"""Sparklines of the browser's rows."""

import re

from explorer.listed import BARS, HEIGHT, sparkline
from explorer.packed.examples import edge


def heights(path: str) -> list[int]:
    assert re.fullmatch(rf"M0 {HEIGHT}(V\d+h1)+V{HEIGHT}z", path)
    return [HEIGHT - int(top) for top in re.findall(r"V(\d+)h1", path)]


def test_a_bar_is_as_high_as_what_it_counts() -> None:
    line = sparkline([(1000, 4), (1001, 16), (1004, 8)])
    assert heights(line.path) == [4, 16, 0, 0, 8]
    assert line.width == 5


def test_what_is_rare_is_seen() -> None:
    assert heights(sparkline([(0, 1), (1, 1_000_000)]).path) == [1, 16]
    assert heights(sparkline([(7, 3)]).path) == [16]


def test_a_wide_one_puts_bins_together() -> None:
    n = 3 * BARS - 1
    line = sparkline([(bin_, 1) for bin_ in range(n)])
    assert heights(line.path) == [16] * (BARS - 1) + [round(16 * 2 / 3)]
    assert line.width == BARS


def test_it_says_in_words_what_it_draws() -> None:
    eighth = 8 * (127 + 0)  # the bin of 1.0, eight to an octave
    assert edge(eighth) == 1.0
    line = sparkline([(eighth, 1), (eighth + 8, 5), (eighth + 23, 1)])
    assert line.says == "1 to 8, most often from 2"
