"""A file of evidence held against the reference, array by array."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core import lens
from sae_core.array_files import ArrayFile
from sae_core.collecting.weights import has_neurons
from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.sae import Sae
from tests.sae_core.collecting.reference import Reference, Token, cosines

SHAPES: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "n_fired": (np.int64, ("F",)), "n_contexts": (np.int64, ("F",)), "n_documents": (np.int64, ("F",)),
    "sum_act": (np.float64, ("F",)), "sum_sq_act": (np.float64, ("F",)),
    "max_act": (np.float32, ("F",)), "p99_act": (np.float32, ("F",)),
    "top_act": (np.float32, ("F", "K")), "top_context": (np.int64, ("F", "K")), "top_position": (np.int64, ("F", "K")),
    "distinct_act": (np.float32, ("F", "K")), "distinct_context": (np.int64, ("F", "K")),
    "distinct_position": (np.int64, ("F", "K")),
    "interval_edge": (np.float32, ("F", 6)), "interval_n_fired": (np.int64, ("F", 5)),
    "interval_sum_act": (np.float64, ("F", 5)), "interval_act": (np.float32, ("F", 5, 5)),
    "interval_context": (np.int64, ("F", 5, 5)), "interval_position": (np.int64, ("F", 5, 5)),
    "strip_act": (np.float32, ("F", 10)), "strip_context": (np.int64, ("F", 10)),
    "strip_position": (np.int64, ("F", 10)),
    "near_pre_act": (np.float32, ("F", 5)), "near_context": (np.int64, ("F", 5)), "near_position": (np.int64, ("F", 5)),
    "hist_start": (np.int64, ("F+1",)), "hist_bin": (np.int16, ("B",)), "hist_n_fired": (np.int64, ("B",)),
    "hist_sum_act": (np.float64, ("B",)),
    "example_start": (np.int64, ("F+1",)), "example_context": (np.int32, ("E",)), "firing_start": (np.int64, ("E+1",)),
    "firing_position": (np.uint16, ("N",)), "firing_act": (np.float32, ("N",)),
    "decoder_norm": (np.float32, ("F",)), "encoder_cosine": (np.float32, ("F",)),
    "neighbour": (np.int32, ("F", 16)), "neighbour_cosine": (np.float32, ("F", 16)),
    "cofire": (np.int32, ("F", 10)), "cofire_n": (np.int32, ("F", 10)), "cofire_phi": (np.float32, ("F", 10)),
    "audit_token": (np.int64, ("A",)), "audit_start": (np.int64, ("A+1",)), "audit_latent": (np.int32, ("P",)),
    "audit_act": (np.float32, ("P",)),
}  # fmt: skip
LENS: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "logit_top_id": (np.int32, ("F", 20)), "logit_top": (np.float32, ("F", 20)),
    "logit_bottom_id": (np.int32, ("F", 20)), "logit_bottom": (np.float32, ("F", 20)),
    "logit_std": (np.float32, ("F",)), "logit_skew": (np.float32, ("F",)), "logit_kurtosis": (np.float32, ("F",)),
    "logit_hist": (np.int32, ("F", 32)), "logit_low": (np.float32, ("F",)), "logit_high": (np.float32, ("F",)),
}  # fmt: skip
INPUT: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "input_id": (np.int32, ("F", 10)), "input": (np.float32, ("F", 10)),
}  # fmt: skip
CORRELATED: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "correlated_neuron": (np.int32, ("F", 10)), "correlated_pearson": (np.float32, ("F", 10)),
}  # fmt: skip
ALIGNED: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "aligned_neuron": (np.int32, ("F", 10)), "aligned_weight": (np.float32, ("F", 10)),
}  # fmt: skip


Arrays = Mapping[str, NDArray[Any]]


def loaded(file: ArrayFile) -> Arrays:
    """In memory: mapping an array anew for each look at it takes most of the time here."""
    return {name: np.array(file[name]) for name in file.names}


def assert_agrees(
    file: ArrayFile,
    reference: Reference,
    lm: Lm,
    sae: Sae,
    *,
    top_k: int,
    document: NDArray[np.int64] | None = None,
) -> None:
    """All of it, where the audit sample is every token. `document` is that of each token."""
    arrays = loaded(file)
    shapes(arrays, lm, sae, top_k)
    says(file.about, reference)
    figures(arrays, reference)
    documents(arrays, reference, document)
    for latent in range(sae.n_latents):
        lists(arrays, reference, latent, top_k)
        examples(arrays, reference, latent)
        near_misses(arrays, reference, latent)
    audit(arrays, reference)
    together(arrays, reference)
    geometry(arrays, sae)
    lenses(arrays, lm, sae)
    neurons(arrays, reference, lm, sae)


def shapes(file: Arrays, lm: Lm, sae: Sae, top_k: int) -> None:
    expected = dict(SHAPES)
    written = True
    try:
        next(lens.logit_lens(lm, sae.W_dec[:1], sae.hookpoint_out))
    except BadInput:
        written = False
    if written:
        expected |= LENS
    if sae.hookpoint.endswith(("hook_resid_pre", "hook_resid_mid", "hook_resid_post")):
        expected |= INPUT
    if has_neurons(lm, sae.hookpoint):
        expected |= CORRELATED
    if has_neurons(lm, sae.hookpoint_out) and sae.config.family != Family.NEURONS:
        expected |= ALIGNED
    assert set(file) == set(expected)
    sizes = {"F": sae.n_latents, "K": top_k, "B": int(file["hist_start"][-1]), "E": int(file["example_start"][-1])}
    sizes |= {"N": int(file["firing_start"][-1]), "A": len(file["audit_token"]), "P": int(file["audit_start"][-1])}
    sizes |= {f"{name}+1": size + 1 for name, size in sizes.items()}
    wanted = {
        name: (np.dtype(kind), tuple(each if isinstance(each, int) else sizes[each] for each in shape))
        for name, (kind, shape) in expected.items()
    }
    assert {name: (file[name].dtype, file[name].shape) for name in expected} == wanted


def says(about: Mapping[str, Any], reference: Reference) -> None:
    assert about["tokens"] == reference.tokens
    assert about["masked"] == reference.counted.size - reference.tokens
    assert (about["contexts"], about["context_length"]) == reference.ids.shape
    assert about["latents"] == reference.n_latents


def documents(file: Arrays, reference: Reference, document: NDArray[np.int64] | None) -> None:
    for latent, found in enumerate(file["n_documents"].tolist()):
        assert found == (-1 if document is None else reference.n_documents(latent, document))


def figures(file: Arrays, reference: Reference) -> None:
    for latent in range(reference.n_latents):
        firings = reference.firings(latent)
        acts = [each.act for each in firings]
        assert file["n_fired"][latent] == len(firings)
        assert file["n_contexts"][latent] == len({each.context for each in firings})
        assert file["max_act"][latent] == reference.maximum(latent)
        np.testing.assert_allclose(file["sum_act"][latent], sum(acts), rtol=1e-12, atol=1e-12 * sum(map(abs, acts)))
        np.testing.assert_allclose(file["sum_sq_act"][latent], sum(act * act for act in acts), rtol=1e-12)


def listed(file: Arrays, name: str, latent: int, act: str = "act") -> list[Token]:
    """A row of a list, what it lacks left out; nothing may follow upon what lacks."""
    columns = [file[f"{name}_{column}"][latent].reshape(-1).tolist() for column in ("context", "position", act)]
    return tokens(*columns)


def tokens(context: list[int], position: list[int], act: list[float]) -> list[Token]:
    found = [Token(*each) for each in zip(context, position, act, strict=True)]
    there = [each for each in found if each.context >= 0]
    assert found == there + [Token(-1, -1, 0.0)] * (len(found) - len(there))
    return there


def lists(file: Arrays, reference: Reference, latent: int, top_k: int) -> None:
    """All but near misses, which are not of firings."""
    tops(file, reference, latent, top_k)
    intervals(file, reference, latent)
    histogram(file, reference, latent)


def near_misses(file: Arrays, reference: Reference, latent: int) -> None:
    assert listed(file, "near", latent, "pre_act") == reference.near_misses(latent)[:5]


def tops(file: Arrays, reference: Reference, latent: int, top_k: int) -> None:
    assert listed(file, "top", latent) == reference.peaks(latent)[:top_k]
    assert listed(file, "distinct", latent) == reference.distinct(latent)[:top_k]
    drawn(listed(file, "strip", latent), reference.above(latent), 10)


def drawn(found: list[Token], among: list[Token], at_most: int) -> None:
    """Of these, each context once, as many as there are."""
    assert set(found) <= set(among)
    contexts = [each.context for each in found]
    assert len(set(contexts)) == len(contexts) == min(at_most, len({each.context for each in among}))


def intervals(file: Arrays, reference: Reference, latent: int) -> None:
    assert file["interval_edge"][latent].tolist() == reference.interval_edges(latent)
    for number, among in enumerate(reference.within(latent)):
        assert file["interval_n_fired"][latent, number] == len(among)
        np.testing.assert_allclose(
            file["interval_sum_act"][latent, number], sum(each.act for each in among), rtol=1e-12
        )
        columns = [file[f"interval_{name}"][latent, number].tolist() for name in ("context", "position", "act")]
        drawn(tokens(*columns), among, 5)


def histogram(file: Arrays, reference: Reference, latent: int) -> None:
    some = slice(*file["hist_start"][latent : latent + 2].tolist())
    expected = reference.histogram(latent)
    assert file["hist_bin"][some].tolist() == list(expected)
    assert file["hist_n_fired"][some].tolist() == [n for n, _ in expected.values()]
    np.testing.assert_allclose(file["hist_sum_act"][some], [total for _, total in expected.values()], rtol=1e-12)
    low, high = reference.p99_between(latent)
    assert np.float32(low) <= file["p99_act"][latent] <= np.float32(high)


def examples(file: Arrays, reference: Reference, latent: int) -> None:
    """Every context of any list, with all that fires there."""
    lists = [listed(file, "top", latent), listed(file, "distinct", latent), listed(file, "strip", latent)]
    lists.append(listed(file, "near", latent, "pre_act"))
    chosen = {each.context for one in lists for each in one}
    chosen |= {each for each in file["interval_context"][latent].reshape(-1).tolist() if each >= 0}
    start, stop = file["example_start"][latent : latent + 2].tolist()
    assert file["example_context"][start:stop].tolist() == sorted(chosen)
    for number in range(start, stop):
        context = int(file["example_context"][number])
        some = slice(*file["firing_start"][number : number + 2].tolist())
        found = list(zip(file["firing_position"][some].tolist(), file["firing_act"][some].tolist(), strict=True))
        assert found == [(each.position, each.act) for each in reference.firings(latent) if each.context == context]


def audit(file: Arrays, reference: Reference, at_most: int | None = None) -> None:
    """Some of the tokens that count, where there may not be all of them, and all that fires there."""
    length = reference.ids.shape[1]
    every = (np.argwhere(reference.counted) @ [length, 1]).tolist()
    found = file["audit_token"].tolist()
    assert found == sorted(set(found))
    if at_most is None or at_most >= len(every):
        assert found == every
    else:
        assert set(found) <= set(every)
        assert len(found) <= at_most
    for number, token in enumerate(found):
        some = slice(*file["audit_start"][number : number + 2].tolist())
        acts = reference.acts[token // length, token % length]
        fires = dict(zip(file["audit_latent"][some].tolist(), file["audit_act"][some].tolist(), strict=True))
        assert len(fires) == some.stop - some.start
        assert fires == {int(latent): float(acts[latent]) for latent in np.flatnonzero(acts)}


def together(file: Arrays, reference: Reference) -> None:
    n_both, phi = reference.together()
    for latent in range(reference.n_latents):
        others = file["cofire"][latent].tolist()
        best = sorted((each for each in phi[latent].tolist() if each > -np.inf), reverse=True)[:10]
        assert others[len(best) :] == [-1] * (10 - len(best))
        others = others[: len(best)]
        assert len(set(others)) == len(others)
        found = file["cofire_phi"][latent, : len(best)]
        np.testing.assert_allclose(found, best, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found, phi[latent, others], rtol=1e-6, atol=1e-7)
        assert file["cofire_n"][latent].tolist() == n_both[latent, others].tolist() + [0] * (10 - len(best))


def falling(
    ids: NDArray[np.int32], values: NDArray[np.float32], table: NDArray[Any], none: float, *, rtol: float = 1e-5
) -> None:
    """The largest of each row of a table, which of equals not being told.  # (n, m)"""
    for found, shown, row in zip(ids, values, table, strict=True):
        n = min(len(found), int(np.isfinite(row).sum()))
        assert len(set(found[:n].tolist())) == n
        scale = np.abs(row[np.isfinite(row)]).max(initial=0)
        np.testing.assert_allclose(shown[:n], -np.sort(-row)[:n], rtol=rtol, atol=rtol * scale)
        np.testing.assert_allclose(shown[:n], row[found[:n]], rtol=rtol, atol=rtol * scale)
        assert found[n:].tolist() == [-1] * (len(found) - n)
        assert shown[n:].tolist() == [none] * (len(found) - n)


def geometry(file: Arrays, sae: Sae) -> None:
    W_dec, W_enc = sae.W_dec.double().numpy(), sae.W_enc.double().numpy()
    np.testing.assert_allclose(file["decoder_norm"], np.linalg.norm(W_dec, axis=1), rtol=1e-6)
    cosine = np.full(sae.n_latents, -2.0) if sae.config.transcoder else np.diagonal(cosines(W_enc.T, W_dec))
    np.testing.assert_allclose(file["encoder_cosine"], cosine, atol=1e-6)
    table = cosines(W_dec, W_dec)
    np.fill_diagonal(table, -np.inf)
    falling(file["neighbour"], file["neighbour_cosine"], table, -2.0)


def lenses(file: Arrays, lm: Lm, sae: Sae) -> None:
    """On the lens's own terms; what that makes of directions has tests of its own."""
    if "logit_top" in file:
        logits = np.concatenate([each.numpy() for each in lens.logit_lens(lm, sae.W_dec, sae.hookpoint_out)])
        logit_tables(file, logits.astype(np.float64))
    if "input" in file:
        read = sae.W_enc.T.double().numpy() @ lens.embedding_inputs(lm, sae.hookpoint).double().numpy().T
        falling(file["input_id"], file["input"], read - read.mean(1, keepdims=True), 0.0)


def logit_tables(file: Arrays, logits: NDArray[np.float64]) -> None:
    """logits (F, n_vocab)"""
    falling(file["logit_top_id"], file["logit_top"], logits, 0.0)
    falling(file["logit_bottom_id"], -file["logit_bottom"], -logits, 0.0)
    std = logits.std(1)
    z = (logits - logits.mean(1, keepdims=True)) / np.where(std > 0, std, 1)[:, None]
    np.testing.assert_allclose(file["logit_std"], std, rtol=1e-4)
    np.testing.assert_allclose(file["logit_skew"], (z**3).mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(file["logit_kurtosis"], (z**4).mean(1) - 3, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(file["logit_low"], logits.min(1), rtol=1e-4)
    np.testing.assert_allclose(file["logit_high"], logits.max(1), rtol=1e-4)
    for latent, row in enumerate(logits):
        low, high = float(file["logit_low"][latent]), float(file["logit_high"][latent])
        assert file["logit_hist"][latent].sum() == len(row)
        edges = np.linspace(low, high, 33)
        clear = np.abs(row[:, None] - edges[1:-1]).min(1) > 1e-5 * (high - low)  # not on an edge, but for rounding
        inner = np.searchsorted(edges[1:-1], row[clear], side="right")
        expected = np.bincount(inner, minlength=32)
        assert (file["logit_hist"][latent] >= expected).all()
        assert file["logit_hist"][latent].sum() - expected.sum() == (~clear).sum()


def neurons(file: Arrays, reference: Reference, lm: Lm, sae: Sae) -> None:
    for name, table in (
        ("correlated_neuron correlated_pearson", reference.pearson() if "correlated_neuron" in file else None),
        ("aligned_neuron aligned_weight", sae.W_dec.double().numpy() if "aligned_neuron" in file else None),
    ):
        if table is None:
            continue
        ids, values = (file[each] for each in name.split())
        falling(ids, np.abs(values), np.abs(table), 0.0, rtol=1e-4)
        for latent, (found, shown) in enumerate(zip(ids, values, strict=True)):
            n = min(len(found), table.shape[1])
            np.testing.assert_allclose(shown[:n], table[latent, found[:n]], rtol=1e-4, atol=1e-5)


OF_PRODUCTS = ("logit_", "input", "neighbour")  # with whole matrices, block by block


def same_evidence(one: ArrayFile, other: ArrayFile, *, blocks_differ: bool = False) -> None:
    """To the last integer and float32, sums to 1e-12. A product of few rows is rounded otherwise than one of many, on
    some processors; so where blocks were of other sizes, what comes of products agrees to single precision."""
    assert one.names == other.names
    for name in sorted(one.names):
        if one[name].dtype == np.float64:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-300, err_msg=name)
        elif name == "correlated_pearson":  # made of such sums
            np.testing.assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-9, err_msg=name)
        elif blocks_differ and name.startswith(OF_PRODUCTS) and one[name].dtype == np.float32:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6, err_msg=name)
        elif blocks_differ and name == "logit_hist":  # whose bins go from the lowest to the highest
            np.testing.assert_array_equal(one[name].sum(1), other[name].sum(1), err_msg=name)
        else:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
