"""What `benchmarks/collect.py` collects: an lm of 4 layers of 256, text whose tokens are as uneven as words are, and
SAEs of which about 32 latents fire a token. Also the bare loop, and one contender in a process of its own, for its
memory: `python -m benchmarks.collect_setting ours|bare FAMILY LATENTS TOKENS`."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

import sae_core
from sae_core.config import Family, SaeConfig
from sae_core.lm import Lm
from sae_core.sae import Sae

HOOKPOINT, D_MODEL, N_VOCAB, K, LENGTH, BATCH = "blocks.2.hook_resid_post", 256, 4096, 32, 128, 64
FLATTENED = 5  # words come as often as 1 / (rank + 5)


def make_lm() -> Lm:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=N_VOCAB,
        hidden_size=D_MODEL,
        intermediate_size=4 * D_MODEL,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=0,
        eos_token_id=0,
    )
    return Lm(LlamaForCausalLM(config))


def make_contexts(tokens: int) -> NDArray[np.uint16]:
    chances = 1 / (np.arange(N_VOCAB) + FLATTENED)
    drawn = np.random.default_rng(0).choice(N_VOCAB, (tokens // LENGTH, LENGTH), p=chances / chances.sum())
    drawn[:, 0] = 0
    return drawn.astype(np.uint16)


def make_sae(lm: Lm, contexts: NDArray[np.uint16], family: str, n_latents: int, seed: int = 0) -> Sae:
    """Random directions about the mean; a ReLU's bias is such that as many fire as of the TopK."""
    x = lm.activations(contexts[:BATCH].astype(np.int64), HOOKPOINT).flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n_latents, D_MODEL, generator=generator), dim=1)
    pre = (x[::8] - x.mean(0)) @ rows.T
    bias = -float(pre.flatten().topk(K * len(pre)).values[-1]) if family == "relu" else 0.0
    tensors = {
        "W_enc": rows.T.contiguous(),
        "W_dec": rows,
        "b_enc": torch.full((n_latents,), bias),
        "b_dec": x.mean(0),
    }
    k = K if family == "topk" else None
    config = SaeConfig(Family(family), D_MODEL, n_latents, k=k, hookpoint=HOOKPOINT, subtract_b_dec=True)
    return Sae(config, tensors)


@torch.no_grad()
def bare_loop(lm: Lm, sae: Sae, contexts: NDArray[np.uint16]) -> float:
    """Forward to the layer, encode, and what fires: nothing is kept. Seconds."""
    started = time.perf_counter()
    for start in range(0, len(contexts), BATCH):
        x = lm.activations(contexts[start : start + BATCH].astype(np.int64), HOOKPOINT).flatten(0, 1)
        pre: Tensor = torch.nn.functional.linear(x - sae.b_dec, sae.W_enc.T, sae.b_enc)
        if sae.config.family == Family.TOPK:
            pre.topk(K, dim=1)
        else:
            pre.relu_().nonzero(as_tuple=True)
    return time.perf_counter() - started


def ours(lm: Lm, saes: list[Sae], contexts: NDArray[np.uint16]) -> tuple[float, float]:
    """Seconds of the pass, and of all to the files being written."""
    passed = 0.0

    def on_batch(done: int, total: int) -> None:
        nonlocal passed
        passed = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"evidence-{number}" for number in range(len(saes))]
        started = time.perf_counter()
        sae_core.collect_evidence(lm, saes, contexts, outs, on_batch=on_batch)
        return passed - started, time.perf_counter() - started


def main(contender: str, family: str, n_latents: int, tokens: int) -> dict[str, Any]:
    lm, contexts = make_lm(), make_contexts(tokens)
    sae = make_sae(lm, contexts, family, n_latents)
    if contender == "bare":
        seconds: Any = bare_loop(lm, sae, contexts)
    else:
        seconds = ours(lm, [sae], contexts)
    return {"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
