"""What is collected here: small lms and SAEs in float64, so that what differs is wrong and not rounding, and texts with
equal contexts and equal windows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sae_core.array_files import ArrayFile
from sae_core.collect import CollectConfig, collect_evidence
from sae_core.config import Family, Normalise
from sae_core.lm import Lm
from sae_core.sae import Sae
from tests.sae_core import random_saes, small_lms

HOOKPOINT, NEURONS = "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"
F, TOP_K, CONTEXTS, LENGTH, BATCH = 23, 6, 30, 20, 4
MASKED = (5, 11)
CONFIG = CollectConfig(top_k=TOP_K, mask_ids=MASKED, batch_contexts=BATCH)


def small_lm(family: str = "gpt2") -> Lm:
    return Lm(small_lms.new_lm(family).double())


def texts(contexts: int = CONTEXTS, length: int = LENGTH, seed: int = 0) -> NDArray[np.int64]:
    """Some contexts come twice, and some go on otherwise after a while."""
    ids: NDArray[np.int64] = small_lms.some_tokens(contexts, length, seed).numpy()
    ids[9], ids[17], ids[23] = ids[2], ids[2], ids[14]
    ids[11, : length - 4] = ids[3, : length - 4]
    ids[20, : length - 4] = ids[19, : length - 4]
    return ids


def some_lengths(contexts: int = CONTEXTS, length: int = LENGTH) -> NDArray[np.int32]:
    """One context is empty, and two have one token."""
    lengths = np.full(contexts, length, np.int32)
    lengths[[1, 6, 7, 12, 28]] = 13, 0, 1, 1, length - 1
    return lengths


def some_pieces(contexts: int = CONTEXTS) -> NDArray[np.int64]:
    """Documents of seven contexts or of less than one, each context after a token that is of none."""
    pieces, document = [], 0
    for context in range(contexts):
        if context % 7 == 0:
            document += 1
        pieces.append((context, 1, document, 0))
        if context % 5 == 3:
            pieces += [(context, 8, document + 1, 0), (context, 15, document + 2, 0)]
            document += 2
    return np.array(pieces, np.int64)


def made_sae(family: Family = Family.TOPK, lm: Lm | None = None, **changes: Any) -> Sae:
    width = small_lms.D_MLP if changes.get("hookpoint") == NEURONS else small_lms.D_MODEL
    if family == Family.MATRYOSHKA:
        changes["prefixes"] = (4, 9, F)
    if family == Family.GROUPMAX:
        changes = {"n_latents": 24} | changes
    settings = {"d_in": width, "n_latents": width if family == Family.NEURONS else F, "hookpoint": HOOKPOINT}
    return random_saes.make(family, **settings | changes).double()


def silenced(sae: Sae, latents: slice) -> Sae:
    """These never fire."""
    tensors = sae.tensors()
    tensors["b_enc"] = tensors["b_enc"].clone()
    tensors["b_enc"][latents] = -1000
    return Sae(sae.config, tensors)


def scaled(sae: Sae, scale: float) -> Sae:
    """Its activations are so many times as large: over many bins of the histogram."""
    tensors = sae.tensors()
    factors = torch.logspace(-1, 1, sae.n_latents, dtype=sae.dtype) * scale
    tensors |= {"W_enc": tensors["W_enc"] * factors, "b_enc": tensors["b_enc"] * factors}
    return Sae(sae.config, tensors)


TRANSCODER = {"hookpoint": "blocks.1.hook_mlp_in_normed", "hookpoint_out": "blocks.1.hook_mlp_out"}
SAES: dict[str, tuple[Family, dict[str, Any]]] = {each.value: (each, {}) for each in Family} | {
    "signed topk": (Family.TOPK, {"signed": True}),
    "centred": (Family.TOPK, {"centred": True, "subtract_b_dec": True}),
    "layer norm": (Family.JUMPRELU, {"normalise": Normalise.LAYER_NORM}),
    "constant norm": (Family.RELU, {"normalise": Normalise.CONSTANT_NORM}),
    "transcoder": (Family.TOPK, TRANSCODER | {"skip": True}),
    "of neurons": (Family.TOPK, {"hookpoint": NEURONS}),
    "neurons of an mlp": (Family.NEURONS, {"hookpoint": NEURONS}),
    "few": (Family.RELU, {"n_latents": 3}),
    "one": (Family.RELU, {"n_latents": 1}),
    "k of all": (Family.TOPK, {"k": F}),
}


def collected(
    lm: Lm, sae: Sae, ids: NDArray[Any], folder: Path, config: CollectConfig = CONFIG, **others: Any
) -> ArrayFile:
    out = folder / "evidence.safetensors"
    collect_evidence(lm, [sae], ids, [out], config, **others)
    return ArrayFile(out)
