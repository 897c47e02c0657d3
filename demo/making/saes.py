"""The demo's SAEs: those of one lm and hookpoint from one stream of activations."""

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import sae_core
from sae_core import Family, TrainConfig

TOKENS = 4_000_000
L0 = 20.0  # of every ReLU SAE, so that sizes can be compared


@dataclass(frozen=True)
class Group:
    lm: str
    hookpoint: str
    saes: dict[str, TrainConfig]


NEURONS = 512
RELU = TrainConfig(Family.RELU, NEURONS, target_l0=L0, learning_rate=2e-3)
MLP, MIDDLE = "blocks.0.mlp.hook_post", "blocks.1.hook_resid_post"
GROUPS = {
    "one-layer": Group(
        "one-layer",
        MLP,
        {
            "one-layer-relu-512": RELU,
            "one-layer-relu-2048": replace(RELU, n_latents=4 * NEURONS),
            "one-layer-relu-4096": replace(RELU, n_latents=8 * NEURONS),
            "one-layer-relu-4096-seed1": replace(RELU, n_latents=8 * NEURONS, seed=1),
        },
    ),
    "twin": Group("one-layer-untrained", MLP, {"one-layer-untrained-relu-4096": replace(RELU, n_latents=8 * NEURONS)}),
    "deep": Group(
        "deep",
        MIDDLE,
        {
            "deep-batchtopk-512": TrainConfig(Family.BATCHTOPK, 512, k=24, learning_rate=1e-3),
            "deep-batchtopk-2048": TrainConfig(Family.BATCHTOPK, 2048, k=24, learning_rate=1e-3),
            "deep-topk-1024": TrainConfig(Family.TOPK, 1024, k=24, learning_rate=1e-3),
        },
    ),
}


def make_saes(name: str, work: Path, demo: Path) -> None:
    """demo/saes/<name of each>, in float16."""
    group = GROUPS[name]
    lm = sae_core.load_lm(demo / "lms" / group.lm)
    corpus = sae_core.open_corpus(work / "corpora" / "sae-training")
    source = sae_core.LmSource(lm, corpus.contexts, group.hookpoint, lengths=corpus.lengths)
    started = time.perf_counter()

    def on_progress(progress: sae_core.Progress) -> None:
        each = "; ".join(f"L0 {e.l0:.1f} FVU {e.fvu:.3f} silent {e.silent} λ {e.penalty:.2f}" for e in progress.saes)
        print(
            f"step {progress.step} of {progress.steps}, {progress.tokens_per_second:,.0f} tokens/s: {each}", flush=True
        )

    trained = sae_core.train_saes(
        source,
        list(group.saes.values()),
        sae_core.Training(tokens=TOKENS, checkpoint_every=0),
        on_progress=on_progress,
    )
    minutes = round((time.perf_counter() - started) / 60, 1)
    (work / "saes").mkdir(exist_ok=True)
    for sae_name, sae in zip(group.saes, trained, strict=True):
        folder = demo / "saes" / sae_name
        shutil.rmtree(folder, ignore_errors=True)
        sae_core.save_sae(sae.half(), folder)
        told = {"tokens": TOKENS, "minutes": minutes, "together": list(group.saes)}
        (work / "saes" / f"{sae_name}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
