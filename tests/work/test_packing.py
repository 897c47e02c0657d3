"""What packing writes is what pages read: from plain values through evidence and bytes, back to the same values."""

from itertools import chain, pairwise
from pathlib import Path

import pytest

from explorer.packed import examples as examples_form
from explorer.packed import feature as feature_form
from explorer.packed import glimpse as glimpse_form
from explorer.packed.examples import Item, Unpacked
from explorer.work import packing
from tests.work.plain_evidence import Latent, Pairs, Shape, made

SHAPES = {
    "usual": Shape(61),
    "one latent": Shape(1),
    "longest of narrow positions": Shape(23, length=255),
    "wide positions": Shape(23, length=256),
    "long contexts": Shape(11, length=1500),
    "many contexts": Shape(23, contexts=70_000),
    "a large vocabulary": Shape(23, n_vocab=65_536),
    "neurons": Shape(23, neurons=True),
    "writes no logits": Shape(23, lens=False, inputs=False),
    "more than 32 bits of tokens": Shape(23, tokens=1 << 33),
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    return SHAPES[request.param]


def places(items: list[Item]) -> list[tuple[int, int]]:
    return [(item.example.context, item.position) for item in items]


def unpacked(shape: Shape, path: Path) -> list[tuple[Latent, Unpacked]]:
    file, latents = made(path / "evidence", shape, seed=1)
    rows = packing.examples(file, 0, shape.latents)
    return [(latent, examples_form.unpack(row, latent.maximum)) for latent, row in zip(latents, rows, strict=True)]


def test_every_form_is_tried(tmp_path: Path) -> None:
    """Narrow and wide, of positions, contexts, distances of bins, and counts."""
    flags = set()
    for name in SHAPES:
        file, _ = made(tmp_path / "evidence", SHAPES[name], seed=1)
        flags |= {row[1] for row in packing.examples(file, 0, SHAPES[name].latents)}
    for flag in examples_form.KINDS:
        assert {each & flag for each in flags} == {0, flag}


def test_lists_are_as_they_were(shape: Shape, tmp_path: Path) -> None:
    for latent, found in unpacked(shape, tmp_path):
        assert places(found.top) == latent.lists["top"]
        assert places(found.distinct) == latent.lists["distinct"]
        assert places(found.strip) == latent.lists["strip"]
        near = [(each.example.context, each.position, each.value) for each in found.near_misses]
        assert near == latent.near
        drawn = [places(interval.items) for interval in found.intervals]
        assert drawn == (latent.intervals if latent.acts else [])


def test_each_example_is_all_that_fires_in_its_context(shape: Shape, tmp_path: Path) -> None:
    """Peaks to the bit; the others to a part in 65,535 of their peak, and what fires never becomes 0."""
    for latent, found in unpacked(shape, tmp_path):
        for item in chain(found.top, found.distinct, found.strip, *(each.items for each in found.intervals)):
            expected = latent.acts[item.example.context]
            peak = max(expected.values())
            assert item.example.peak == peak
            assert [position for position, _ in item.example.firings] == sorted(expected)
            for position, act in item.example.firings:
                assert abs(act - expected[position]) <= peak / 65_535
                assert act > 0
                assert act == peak or expected[position] != peak
            assert abs(item.value - expected[item.position]) <= peak / 65_535
        assert all(near.example.firings == [] for near in found.near_misses)


def test_each_context_is_there_once_though_in_several_lists(tmp_path: Path) -> None:
    for latent, found in unpacked(Shape(40), tmp_path):
        items = chain(found.top, found.distinct, found.strip, *(each.items for each in found.intervals))
        examples = [item.example for item in items] + [near.example for near in found.near_misses]
        assert sorted({id(each): each.context for each in examples}.values()) == latent.contexts


def test_intervals_share_out_the_histogram(shape: Shape, tmp_path: Path) -> None:
    for latent, found in unpacked(shape, tmp_path):
        bars = {examples_form.edge(bin_): each for bin_, each in latent.histogram.items()}
        assert [bar.low for bar in found.histogram] == sorted(bars)
        for bar in found.histogram:
            count, mass = bars[bar.low]
            assert bar.n_fired == count
            mean = min(max(mass / count, bar.low), bar.high)  # what lies beyond the bins counts as the last of them
            assert bar.sum / count == pytest.approx(mean, rel=1e-6)
        assert all(low.high <= high.low for low, high in pairwise(found.histogram))
        if not latent.acts:
            assert found.intervals == []
            continue
        edges = [examples_form.edge(bin_) for bin_ in latent.edges]
        assert [interval.low for interval in found.intervals] == [0.0, *edges]
        assert [interval.high for interval in found.intervals] == [*edges, latent.maximum]
        for number, interval in enumerate(found.intervals):
            inside = [each for low, each in bars.items() if sum(low >= edge for edge in edges) == number]
            assert interval.n_fired == sum(count for count, _ in inside)
            masses = [bar.sum for bar in found.histogram if sum(bar.low >= edge for edge in edges) == number]
            assert interval.sum == pytest.approx(sum(masses), rel=1e-12)


def test_what_fires_with_it_and_neurons(shape: Shape, tmp_path: Path) -> None:
    for latent, found in unpacked(shape, tmp_path):
        assert found.together == latent.together
        assert found.neurons == latent.correlated


def test_a_glimpse_is_what_a_whole_look_begins_with(shape: Shape, tmp_path: Path) -> None:
    file, latents = made(tmp_path / "evidence", shape, seed=1)
    for latent, row in zip(latents, packing.examples(file, 0, shape.latents), strict=True):
        found, whole = glimpse_form.unpack(row), examples_form.unpack(row, latent.maximum)
        assert [(examples_form.edge(bin_), n) for bin_, n in found.histogram] == [
            (bar.low, bar.n_fired) for bar in whole.histogram
        ]
        if not whole.top:
            assert found.strongest is None
            continue
        assert found.strongest == whole.top[0]


def test_weights_are_as_they_were(shape: Shape, tmp_path: Path) -> None:
    file, latents = made(tmp_path / "evidence", shape, seed=2)
    for latent, row in zip(latents, packing.features(file, 0, shape.latents), strict=True):
        found = feature_form.unpack(row)
        assert found.neighbours == latent.neighbours
        assert found.inputs == latent.inputs
        assert found.aligned == latent.aligned
        assert (found.lens is None) == (latent.lens == {})
        if found.lens:
            of_lens: dict[str, float | list[int] | Pairs] = {
                name: getattr(found.lens, name) for name in feature_form.Lens.__slots__
            }
            assert of_lens == latent.lens


def test_blocks_of_any_size_give_the_same(tmp_path: Path) -> None:
    file, _ = made(tmp_path / "evidence", Shape(50, neurons=True), seed=3)
    for packed in (packing.examples, packing.features):
        whole = list(packed(file, 0, 50))
        for cuts in ([0, 1, 2, 50], [0, 7, 49, 50], range(51)):
            assert [row for first, stop in pairwise(cuts) for row in packed(file, first, stop)] == whole


@pytest.mark.parametrize(
    "unpack", [lambda data: examples_form.unpack(data, 1.0), glimpse_form.unpack, feature_form.unpack]
)
def test_a_later_form_is_refused(unpack: object, tmp_path: Path) -> None:
    file, _ = made(tmp_path / "evidence", Shape(1), seed=4)
    for packed in (packing.examples, packing.features):
        (row,) = packed(file, 0, 1)
        with pytest.raises(ValueError, match="packed by version 200; this release reads 1"):
            unpack(bytes([200]) + row[1:])  # type: ignore[operator]


def test_the_highest_top_k_has_numbers_for_all_its_examples() -> None:
    """Each number is a byte, and so is how many there are."""
    others = 5 * 5 + 10 + 5
    assert 2 * packing.MOST_TOP_K + others <= 255 < 2 * (packing.MOST_TOP_K + 1) + others
