"""Some of a feature's examples, computed again and set beside what is stored.

Arguments: `sae`, its slug; `collection`, whose examples they are; `index`; `examples`, which of them.
"""

from typing import Any

import numpy as np

from explorer.models import Sae
from explorer.queries import features as feature_queries
from explorer.queries import library
from explorer.queries.features import FeaturePage, Shown, Which
from explorer.work.attempt import Attempt, Refused
from explorer.work.opening import lm_of, refusing, sae_of
from sae_core import Family
from sae_core.watched import Watched

EXAMPLES = 10
# What is done to h, the pre-activations; sae_core.activations has the same.
FORMULAS = {
    Family.RELU: "f = max(h, 0)",
    Family.NEURONS: "f = max(h, 0)",
    Family.TOPK: "f = max(h, 0) where h is among the {k} largest of its token, else 0",
    Family.GROUPMAX: "f = max(h, 0) where h is the largest of its group, one of {k}, else 0",
    Family.BATCHTOPK: "f = h where h > θ, one threshold for all latents, else 0",
    Family.MATRYOSHKA: "f = h where h > θ, one threshold for all latents, else 0",
    Family.JUMPRELU: "f = h where h > θ, the latent’s own threshold, else 0",
    Family.RANDOM: "f = h where h > θ, the latent’s own threshold, else 0",
    Family.GATED: "f = max((z − b)·W_enc · exp(r_mag) + b_mag, 0) where h > 0, else 0",
}


def run(attempt: Attempt) -> dict[str, Any]:
    page = page_of(attempt.arguments)
    assert page.collection is not None
    assert page.examples is not None
    with refusing():
        lm = lm_of(page.sae.lm)
        sae = sae_of(page.sae, lm)
        watched = Watched(lm, sae, page.index, page.collection.about["mask_ids"])
        lists = page.examples.of(Which(attempt.arguments.get("examples", Which.TOP)))
        chosen = [each for examples in lists for each in examples[: EXAMPLES // len(lists)]]
        compared = [_compared(each, watched) for each in attempt.steps(chosen, total=len(chosen), unit="examples")]
    return {
        "examples": compared,
        "formula": formula(page.sae),
        "mask_ids": list(watched.mask_ids),
        "device": str(lm.device),
        "dtype": str(lm.dtype).removeprefix("torch."),
        "program": _program(page, chosen),
    }


def page_of(arguments: dict[str, Any]) -> FeaturePage:
    """As it was when somebody asked."""
    sae = library.sae(arguments["sae"])
    page = feature_queries.feature(sae, arguments["index"]) if sae else None
    if page is None or page.collection is None or page.collection.pk != arguments["collection"]:
        raise Refused("What this was asked about has been removed, or read anew. Look at the feature, and ask again.")
    return page


def _compared(example: Shown, watched: Watched) -> dict[str, Any]:
    fresh = watched.acts(example.ids)
    apart = np.abs(fresh - np.asarray(example.activations, np.float32))
    return {
        "context": example.context,
        "position": example.position,
        "tokens": len(example.ids),
        "counted": watched.n_counted(example.ids),
        "stored": example.value,
        "fresh": float(fresh[example.position]),
        "apart": float(apart.max()),
        "apart_at": int(apart.argmax()),
    }


def formula(sae: Sae) -> str:
    """From what the SAE reads to an activation."""
    config = sae.config
    z = {"constant_norm": "x·√d / |x|", "layer_norm": "(x − mean x) / std x"}.get(config.get("normalise", ""), "x")
    centred = ", x less its mean" if config.get("centred") else ""
    b = "b_dec" if config.get("subtract_b_dec") else "0"
    how = FORMULAS[Family(sae.family)].format(k=config.get("k"))
    if config.get("signed"):
        how = how.replace("max(h, 0)", "h").replace("h is among the", "|h| is among the")
    bias = "b_gate" if sae.family == Family.GATED else "b_enc"
    return f"h = (z − b)·W_enc + {bias}, z = {z}, b = {b}{centred}; {how}"


def _program(page: FeaturePage, examples: list[Shown]) -> str:
    sae, first = page.sae, examples[0]
    assert page.collection is not None
    names = ("counted", "load_lm", "load_sae" if sae.weights_id else "neurons")
    return f"""import torch
from sae_core import {", ".join(names)}

lm = load_lm({sae.lm.source!r})
sae = {_loaded(sae)}
ids = {first.ids}  # context {first.context} of {page.collection.corpus.slug}
x = lm.activations([ids], {sae.hookpoint!r}, centred=sae.config.centred)[0]
acts = sae.encode(x)[:, {page.index}]
mask = counted(torch.tensor(ids), {page.collection.about["mask_ids"]})
print([round(each, 4) for each in torch.where(mask, acts, 0).tolist()])
"""


def _loaded(sae: Sae) -> str:
    if sae.weights_id is None:
        return f"neurons({sae.hookpoint!r}, {sae.d_in})"
    if sae.source in ("", "uploaded"):
        return f'load_sae("SAE")  # the folder that was uploaded; its sae.safetensors has the sha256 {sae.weights_id}'
    return f"load_sae({sae.source!r})"
