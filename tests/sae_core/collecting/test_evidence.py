"""Evidence against a brute force, for every class of lm and every family of SAE."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sae_core.collect import CollectConfig
from sae_core.config import Family
from sae_core.lm import Lm
from tests.sae_core import small_lms
from tests.sae_core.collecting import agreement
from tests.sae_core.collecting.agreement import assert_agrees, same_evidence
from tests.sae_core.collecting.made import (
    CONFIG,
    CONTEXTS,
    LENGTH,
    MASKED,
    NEURONS,
    SAES,
    TOP_K,
    collected,
    made_sae,
    scaled,
    silenced,
    small_lm,
    some_lengths,
    some_pieces,
    texts,
)
from tests.sae_core.collecting.reference import Reference, documents


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("family", small_lms.FAMILIES)
def test_of_every_class_of_lm(family: str, tmp_path: Path) -> None:
    lm, sae, ids = small_lm(family), made_sae(), texts()
    file = collected(lm, sae, ids, tmp_path)
    assert_agrees(file, Reference.of(lm, sae, ids, MASKED), lm, sae, top_k=TOP_K)


@pytest.mark.parametrize("name", SAES)
def test_of_every_family_of_sae(name: str, tmp_path: Path) -> None:
    family, changes = SAES[name]
    lm, sae, ids, lengths = small_lm(), made_sae(family, **changes), texts(), some_lengths()
    pieces = some_pieces()
    file = collected(lm, sae, ids, tmp_path, lengths=lengths, pieces=pieces)
    reference = Reference.of(lm, sae, ids, MASKED, lengths.tolist())
    document = documents(pieces.tolist(), CONTEXTS, LENGTH)
    assert_agrees(file, reference, lm, sae, top_k=TOP_K, document=document)


def test_latents_that_never_fire(tmp_path: Path) -> None:
    """Some of them, and then all."""
    lm, ids = small_lm(), texts()
    for which in (slice(3, 9), slice(None)):
        sae = silenced(made_sae(Family.RELU), which)
        file = collected(lm, sae, ids, tmp_path)
        assert (file["n_fired"][which] == 0).all()
        assert_agrees(file, Reference.of(lm, sae, ids, MASKED), lm, sae, top_k=TOP_K)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e4])
def test_of_activations_of_any_size(scale: float, tmp_path: Path) -> None:
    lm, sae, ids = small_lm(), scaled(made_sae(Family.RELU), scale), texts()
    file = collected(lm, sae, ids, tmp_path)
    assert_agrees(file, Reference.of(lm, sae, ids, MASKED), lm, sae, top_k=TOP_K)


def test_of_more_latents_than_are_gone_through_one_by_one(tmp_path: Path) -> None:
    """A TopK of so many is told by groups."""
    lm, sae, ids = small_lm(), made_sae(n_latents=1049, k=9), texts()
    arrays = agreement.loaded(collected(lm, sae, ids, tmp_path))
    reference = Reference.of(lm, sae, ids, MASKED)
    assert (reference.flat != 0).sum() == 9 * reference.tokens
    agreement.figures(arrays, reference)
    agreement.audit(arrays, reference)
    for latent in range(0, sae.n_latents, 7):
        agreement.lists(arrays, reference, latent, TOP_K)
        agreement.examples(arrays, reference, latent)
        agreement.near_misses(arrays, reference, latent)


@pytest.mark.parametrize("at_most", [0, 1, 100, 539, 540])
def test_of_an_audit_of_fewer_tokens(at_most: int, tmp_path: Path) -> None:
    """What fires together is told from these alone."""
    lm, sae, ids = small_lm(), made_sae(Family.RELU), texts()
    file = agreement.loaded(collected(lm, sae, ids, tmp_path, replace(CONFIG, audit_tokens=at_most)))
    reference = Reference.of(lm, sae, ids, MASKED)
    agreement.audit(file, reference, at_most)
    n = len(file["audit_token"])
    assert abs(n - at_most) <= 5 * at_most**0.5
    sampled = np.zeros(ids.size, np.bool_)
    sampled[file["audit_token"]] = True
    agreement.together(file, replace(reference, counted=sampled.reshape(ids.shape)))


@pytest.mark.parametrize("top_k", [1, 29, 200])
def test_of_longer_and_shorter_lists(top_k: int, tmp_path: Path) -> None:
    lm, sae, ids = small_lm(), made_sae(), texts()
    file = collected(lm, sae, ids, tmp_path, replace(CONFIG, top_k=top_k))
    assert_agrees(file, Reference.of(lm, sae, ids, MASKED), lm, sae, top_k=top_k)


@pytest.mark.parametrize(("contexts", "length"), [(1, 20), (1, 1), (40, 1), (3, 32)])
def test_of_any_shape_of_text(contexts: int, length: int, tmp_path: Path) -> None:
    lm, sae = small_lm(), made_sae(Family.RELU)
    ids = small_lms.some_tokens(contexts, length).numpy()
    file = collected(lm, sae, ids, tmp_path, CollectConfig(top_k=TOP_K, mask_ids=()))
    assert_agrees(file, Reference.of(lm, sae, ids, ()), lm, sae, top_k=TOP_K)


def test_what_is_masked_where_nothing_is_said(tmp_path: Path) -> None:
    """The lm's bos and pad."""
    lm, sae, ids = small_lm("gemma"), made_sae(), texts()
    ids[:, 0], ids[4, 12:] = 1, 0
    file = collected(lm, sae, ids, tmp_path, CollectConfig(top_k=TOP_K))
    assert file.about["mask_ids"] == [0, 1]
    assert_agrees(file, Reference.of(lm, sae, ids, (0, 1)), lm, sae, top_k=TOP_K)


@pytest.mark.parametrize("kind", [np.uint16, np.uint32, np.int32])
def test_of_ids_in_any_numbers(kind: type, tmp_path: Path) -> None:
    lm, sae = small_lm(), made_sae()
    same_evidence(collected(lm, sae, texts().astype(kind), tmp_path / "a"), collected(lm, sae, texts(), tmp_path / "b"))


def test_in_single_precision(tmp_path: Path) -> None:
    """As everybody runs it: by other roundings, of activations that are some 1e-6 of themselves apart."""
    lm, sae, ids = Lm(small_lms.new_lm("gpt2")), made_sae(Family.JUMPRELU).float(), texts()
    file = collected(lm, sae, ids, tmp_path)
    reference = Reference.of(small_lm(), made_sae(Family.JUMPRELU), ids, MASKED)
    for latent in range(sae.n_latents):
        acts = [each.act for each in reference.firings(latent)]
        assert file["n_fired"][latent] == len(acts)
        np.testing.assert_allclose(file["sum_act"][latent], sum(acts), rtol=1e-5)
        np.testing.assert_allclose(file["max_act"][latent], max(acts), rtol=1e-5)
        expected = [each.act for each in reference.peaks(latent)[:TOP_K]]
        np.testing.assert_allclose(file["top_act"][latent], expected, rtol=1e-5)


def test_the_lens_of_folded_weights(tmp_path: Path) -> None:
    """By hand: what a decoder row adds to the stream goes through the final norm's gain, centred, to the logits."""
    lm, ids = small_lm(), texts()
    norm, W_U = lm.hf.transformer.ln_f.weight.numpy(), lm.hf.lm_head.weight.numpy()
    W_O = lm.hf.transformer.h[1].mlp.c_proj.weight.numpy()  # (d_mlp, d_model)
    for sae, way in ((made_sae(), np.eye(16)), (made_sae(hookpoint=NEURONS), W_O)):
        written = sae.W_dec.numpy() @ way
        written = written - written.mean(1, keepdims=True)
        logits = (written * norm) @ W_U.T
        arrays = agreement.loaded(collected(lm, sae, ids, tmp_path))
        agreement.logit_tables(arrays, logits - logits.mean(1, keepdims=True))
