"""The same SAE in other units: what is folded into its weights leaves its reconstruction as it was."""

from dataclasses import replace

import torch

from sae_core.config import BATCH_FAMILIES, NEEDS_K, Family
from sae_core.errors import BadInput
from sae_core.sae import Sae

SCALED_WITH_LATENTS = ("b_enc", "threshold", "b_gate", "b_mag")  # not r_mag, which multiplies


def unit_decoder(sae: Sae) -> Sae:
    """Decoder rows of norm 1, latents scaled up by what the rows had; a row of zeros stays.

    W_dec/n; W_enc, b_enc, threshold, b_gate and b_mag ·n. One threshold for all becomes one for each.
    """
    if sae.config.family in NEEDS_K:
        raise BadInput(f"folding decoder norms into a {sae.config.family} SAE would change which latents are kept")
    if sae.config.family == Family.NEURONS:
        return sae
    tensors = sae.tensors()
    norms = tensors["W_dec"].norm(dim=1)  # (n_latents)
    norms = torch.where(norms == 0, 1, norms)
    tensors |= {"W_dec": tensors["W_dec"] / norms[:, None], "W_enc": tensors["W_enc"] * norms}
    tensors |= {name: tensors[name] * norms for name in SCALED_WITH_LATENTS if name in tensors}
    family = Family.JUMPRELU if sae.config.family in BATCH_FAMILIES else sae.config.family
    return Sae(replace(sae.config, family=family, prefixes=(), k=None), tensors)


def scaled_inputs(sae: Sae, scale: float, scale_out: float | None = None) -> Sae:
    """An SAE trained on x·scale, made to read x: W_enc·scale, W_dec/scale, b_dec/scale. Latents stay as they were.

    What a transcoder reconstructs may have had a scale of its own.
    """
    tensors = sae.tensors()
    scale_out = scale if scale_out is None else scale_out
    if sae.config.family == Family.NEURONS:
        raise BadInput("neurons have no scale of their own")
    tensors |= {"W_enc": tensors["W_enc"] * scale}
    tensors |= {"W_dec": tensors["W_dec"] / scale_out, "b_dec": tensors["b_dec"] / scale_out}
    if "W_skip" in tensors:
        tensors |= {"W_skip": tensors["W_skip"] * (scale / scale_out)}
    return Sae(sae.config, tensors)


def prefix(sae: Sae, n_latents: int) -> Sae:
    """The first latents alone: one of the nested dictionaries of a Matryoshka SAE, or a cut of any."""
    if not 1 <= n_latents <= sae.n_latents or sae.config.family == Family.NEURONS:
        raise BadInput(
            f"a prefix of {n_latents} latents of {sae.n_latents}: expected 1 to {sae.n_latents}, not neurons"
        )
    tensors = sae.tensors()
    tensors["W_enc"] = tensors["W_enc"][:, :n_latents].contiguous()
    tensors["W_dec"] = tensors["W_dec"][:n_latents].contiguous()
    for name in ("b_enc", "threshold", "b_gate", "r_mag", "b_mag"):
        if name in tensors and tensors[name].dim():
            tensors[name] = tensors[name][:n_latents].contiguous()
    kept = tuple(each for each in sae.config.prefixes if each <= n_latents)
    family = sae.config.family
    if family == Family.MATRYOSHKA and kept[-1:] != (n_latents,):
        kept = (*kept, n_latents)
    k = None if sae.config.k is None else min(sae.config.k, n_latents)
    return Sae(replace(sae.config, n_latents=n_latents, prefixes=kept, k=k), tensors)
