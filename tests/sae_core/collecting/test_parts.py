"""Parts of a collection, cut anywhere between batches and put together in any order, make the same evidence; parts that
do not belong together make none."""

import functools
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sae_core.array_files import ArrayFile
from sae_core.collect import CollectConfig, collect_evidence, collect_part, finish, shards
from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.sae import Sae
from tests.sae_core.collecting.agreement import same_evidence
from tests.sae_core.collecting.made import (
    BATCH,
    CONFIG,
    CONTEXTS,
    NEURONS,
    collected,
    made_sae,
    silenced,
    small_lm,
    some_lengths,
    some_pieces,
    texts,
)

BATCHES = -(-CONTEXTS // BATCH)


class Parts:
    """Made when they are asked for, once each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lm, self.ids, self.lengths, self.pieces = small_lm(), texts(), some_lengths(), some_pieces()
        self.sae = made_sae(Family.TOPK, hookpoint=NEURONS, k=5)
        self.whole = collected(self.lm, self.sae, self.ids, folder, lengths=self.lengths, pieces=self.pieces)
        self.of = functools.cache(self._make)

    def _make(self, first: int, stop: int, sae: Sae | None = None, config: CollectConfig = CONFIG) -> Path:
        path = self.folder / f"part-{first}-{stop}-{id(sae)}-{config.top_k}-{config.batch_contexts}"
        sae = sae or self.sae
        collect_part(self.lm, [sae], self.ids, [path], config, first=first, stop=stop, lengths=self.lengths)
        return path

    def finish(self, *parts: Path, config: CollectConfig | None = None, ids: np.ndarray | None = None) -> ArrayFile:
        out = self.folder / "finished.safetensors"
        ids = self.ids if ids is None else ids
        finish(self.lm, self.sae, parts, out, config, contexts=ids, pieces=self.pieces)
        return ArrayFile(out)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"))


@pytest.mark.parametrize("small", [False, True])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, BATCHES - 1)), seed=st.integers(0, 2**32))
def test_any_cuts_and_order_make_the_same(
    parts: Parts, cuts: set[int], seed: int, small: bool, request: pytest.FixtureRequest
) -> None:
    if small:
        request.getfixturevalue("in_small_pieces")
    bounds = [0, *(each * BATCH for each in sorted(cuts)), CONTEXTS]
    paths = [parts.of(*each) for each in pairwise(bounds)]
    np.random.default_rng(seed).shuffle(paths)
    found = parts.finish(*paths)
    same_evidence(found, parts.whole, blocks_differ=small)
    assert found.about == parts.whole.about


def test_shards_are_about_equal_and_cut_between_batches() -> None:
    assert shards(30, 4, 1) == [(0, 30)]
    assert shards(30, 4, 3) == [(0, 8), (8, 20), (20, 30)]
    assert shards(30, 4, 99) == [(first, min(first + 4, 30)) for first in range(0, 30, 4)]
    assert shards(3, 4, 2) == [(0, 3)]
    assert shards(8, 4, 0) == [(0, 8)]


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ([], r"^there are no parts to make evidence of"),
        ([(4, 30)], r"part-4-30-.*: begins at context 4, expected 0; is a part missing\?"),
        ([(0, 8), (12, 30)], r"part-12-30-.*: begins at context 12, expected 8; is a part missing\?"),
        ([(0, 8), (8, 28)], r"part-8-28-.*: the last part ends at context 28, expected 30; is one missing\?"),
        ([(0, 12), (8, 30)], r"part-8-30-.*: begins at context 8, expected 12; is a part there twice\?"),
        ([(0, 8), (8, 30), (0, 8)], r"part-0-8-.*: begins at context 0, expected 8; is a part there twice\?"),
        ([(0, 30), (8, 12)], r"part-8-12-.*: begins at context 8, expected 30; is a part there twice\?"),
    ],
)
def test_parts_that_do_not_cover_each_context_once(parts: Parts, bounds: list[tuple[int, int]], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parts.finish(*(parts.of(*each) for each in bounds))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"top_k": 5}, r"its top_k is not that of .*part-0-8"),
        ({"mask_ids": (5,)}, r"its mask_ids is not that of .*part-0-8"),
        ({"batch_contexts": 2}, r"its batch_contexts is not that of .*part-0-8"),
    ],
)
def test_parts_made_with_other_settings(parts: Parts, changes: dict[str, Any], says: str) -> None:
    other = parts.of(8, CONTEXTS, config=replace(CONFIG, **changes))
    with pytest.raises(BadInput, match=says) as refused:
        parts.finish(parts.of(0, 8), other)
    assert str(refused.value).startswith(f"{other}: ")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"top_k": 20}, "its top_k is 6, expected 20"),
        ({"mask_ids": ()}, r"its mask_ids is \[5, 11\], expected \[\]"),
        ({"batch_contexts": 8}, "its batch_contexts is 4, expected 8"),
    ],
)
def test_settings_that_the_parts_were_not_made_with(parts: Parts, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parts.finish(parts.of(0, CONTEXTS), config=replace(CONFIG, **changes))


def test_parts_of_another_sae_or_corpus(parts: Parts) -> None:
    other = made_sae(Family.TOPK, hookpoint=NEURONS, k=4, n_latents=parts.sae.n_latents + 1)
    foreign = parts.of(8, CONTEXTS, sae=other)
    with pytest.raises(BadInput, match=r"part-8-30-.*: of Sae\(topk, 40 -> 24 -> 40, .*; it is a part of another coll"):
        parts.finish(parts.of(0, 8), foreign)
    with pytest.raises(BadInput, match=r"part-0-30-.*: the last part ends at context 30, expected 31"):
        parts.finish(parts.of(0, CONTEXTS), ids=texts(CONTEXTS + 1))
    with pytest.raises(BadInput, match=r"part-0-30-.*: of contexts of 20 tokens, expected 24"):
        parts.finish(parts.of(0, CONTEXTS), ids=texts(length=24))


def test_what_is_no_part(parts: Parts) -> None:
    with pytest.raises(BadInput, match=r"evidence\.safetensors: evidence of format 1, expected a part of a collection"):
        parts.finish(parts.whole.path)
    torn = parts.folder / "torn"
    torn.write_bytes(parts.of(0, CONTEXTS).read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"torn: .* does not lie in it as its header says; was the file cut short\?"):
        parts.finish(torn)
    with pytest.raises(BadInput, match=r"missing: cannot be read"):
        parts.finish(parts.folder / "missing")


def test_what_parts_say_of_latents_that_did_not_fire_takes_no_room(tmp_path: Path) -> None:
    """But for near misses, which are of these alone."""
    lm, ids = small_lm(), texts()
    silent = silenced(made_sae(Family.RELU), slice(None))
    collect_part(lm, [silent], ids, [tmp_path / "part"], CONFIG)
    part = ArrayFile(tmp_path / "part")
    empty = {name for name in part.names if not part[name].size}
    assert part.names - empty == {"near_latent", "near_context", "near_position", "near_act", "spill_count"}


def test_several_saes_share_a_pass(tmp_path: Path) -> None:
    """At one hookpoint or at several, the evidence is that of each alone."""
    lm, ids = small_lm(), texts()
    saes = [made_sae(), made_sae(Family.JUMPRELU), made_sae(Family.TOPK, hookpoint=NEURONS)]
    outs = [tmp_path / f"{number}" for number in range(len(saes))]
    abouts = collect_evidence(lm, saes, ids, outs, CONFIG)
    for sae, out, about in zip(saes, outs, abouts, strict=True):
        alone = collected(lm, sae, ids, tmp_path)
        same_evidence(ArrayFile(out), alone)
        assert about == ArrayFile(out).about == alone.about
    assert {each.name for each in tmp_path.iterdir()} == {"0", "1", "2", "evidence.safetensors"}
