"""`python -m sae_core collect`."""

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

import sae_core  # loads torch when it is asked for something, not before

EVIDENCE = "evidence.safetensors"


def add_arguments(each: argparse.ArgumentParser) -> None:
    each.add_argument("--out", required=True, metavar="FOLDER", help=f"{EVIDENCE} is written there")
    each.add_argument(
        "--top-k", type=int, default=20, metavar="K", help="strongest contexts of each latent (as is: 20)"
    )
    each.add_argument("--batch-size", type=int, metavar="N", help="contexts in a batch")


def run(given: argparse.Namespace, lm: Any, sae: Any, contexts: Any, lengths: Any, pieces: Any) -> dict[str, Any]:
    mask_ids = None if given.mask_ids is None else tuple(given.mask_ids)
    config = sae_core.CollectConfig(top_k=given.top_k, mask_ids=mask_ids, batch_contexts=given.batch_size)
    passed = 0.0
    with tqdm(unit="context", disable=None) as bar:

        def on_batch(done: int, total: int) -> None:
            nonlocal passed
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                passed = time.perf_counter()

        def on_step(done: int, total: int, what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.refresh()

        started = time.perf_counter()
        out = Path(given.out) / EVIDENCE
        (about,) = sae_core.collect_evidence(
            lm,
            [sae],
            contexts,
            [out],
            config,
            lengths=lengths,
            pieces=pieces,
            on_batch=on_batch,
            on_step=on_step,
        )
        ended = time.perf_counter()
    return about | {
        "out": str(out),
        "seconds_pass": passed - started,
        "seconds": ended - started,
        "tokens_per_second": about["tokens"] / (passed - started),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def peak_memory_bytes() -> int:
    """Of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
