"""What sae_core costs over the bare work: `python -m benchmarks.library`.

- `corpus`: text to contexts on the disk, over the tokenizer's own `encode_batch` of the same text;
- `metrics`: over the bare forwards that they need, one to the hookpoint and four to the logits;
- `fit`: the check of an SAE that does not fit, so that everything is tried, over one bare forward of its 4,000 tokens.

The lm is of GPT-2's class, 4 layers of 256, untrained; the SAE has 2,048 latents, of which 32 fire. What is compared
takes turns, round after round; figures are medians over the rounds, ratios medians of the ratios within a round.
"""

import argparse
import json
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from benchmarks import machine
from sae_core.config import Family, SaeConfig
from sae_core.corpus import build_corpus
from sae_core.fit import TOKENS, check_fit
from sae_core.lm import Lm
from sae_core.metrics import measure
from sae_core.sae import Sae
from sae_core.tokenizer import Tokenizer

HOOKPOINT, D_MODEL, LATENTS, K, N_VOCAB = "blocks.2.hook_resid_post", 256, 2048, 32, 4096
CONTEXTS, LENGTH, CHARACTERS = 128, 128, 4_000_000

Pair = tuple[Callable[[], object], Callable[[], object]]  # ours, and the bare work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    load = machine.OtherLoad()
    with tempfile.TemporaryDirectory() as folder:
        taken = {name: _take_turns(pair, rounds) for name, pair in _pairs(Path(folder)).items()}
    on = machine.describe()
    print(f"{machine.in_words(on)}; other load took {load.share():.0%} of it; {rounds} rounds\n")
    print(f"{'':<10}{'ours, s':>10}{'bare, s':>10}{'ratio':>8}")
    figures = {name: _figures(times) for name, times in taken.items()}
    for name, each in figures.items():
        print(f"{name:<10}{each['ours']:>10.2f}{each['bare']:>10.2f}{each['ratio']:>8.2f}")
    print(json.dumps({"benchmark": "library", "machine": on, "rounds": rounds, "seconds": figures}))
    return 0


def _pairs(folder: Path) -> dict[str, Pair]:
    sources = _texts(folder)
    tokenizer = _tokenizer([each.read_text() for each in sources[:30]])
    made = iter(range(1_000_000))
    whole = [each.read_text() for each in sources]
    lm, sae = _lm_and_sae()
    contexts = torch.randint(0, N_VOCAB - 1, (CONTEXTS, LENGTH))
    some = contexts[: -(-TOKENS // LENGTH)]
    return {
        "corpus": (
            lambda: build_corpus(sources, tokenizer, folder / f"corpus-{next(made)}"),
            lambda: tokenizer.hf.backend_tokenizer.encode_batch(whole, add_special_tokens=False),
        ),
        "metrics": (lambda: measure(lm, sae, contexts), lambda: _forwards(lm, contexts)),
        "fit": (lambda: check_fit(lm, sae, contexts), lambda: lm.activations(some, HOOKPOINT)),
    }


def _texts(folder: Path) -> list[Path]:
    """The Python library's own source."""
    found, size = [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text = path.read_text("utf-8", errors="replace")
        found.append(folder / path.name)
        found[-1].write_text(text, "utf-8")
        size += len(text)
        if size > CHARACTERS:
            break
    return found


def _tokenizer(texts: list[str]) -> Tokenizer:
    backend: Any = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet, end = pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB, initial_alphabet=alphabet, special_tokens=[end], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=end, eos_token=end), "benchmark")


def _lm_and_sae() -> tuple[Lm, Sae]:
    torch.manual_seed(0)
    ids = {"bos_token_id": N_VOCAB - 1, "eos_token_id": N_VOCAB - 1}
    config = GPT2Config(vocab_size=N_VOCAB, n_embd=D_MODEL, n_layer=4, n_head=4, n_positions=LENGTH, **ids)
    rows = torch.nn.functional.normalize(torch.randn(LATENTS, D_MODEL), dim=1)
    tensors = {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": torch.zeros(LATENTS), "b_dec": torch.ones(D_MODEL)}
    return Lm(GPT2LMHeadModel(config)), Sae(SaeConfig(Family.TOPK, D_MODEL, LATENTS, k=K, hookpoint=HOOKPOINT), tensors)


def _forwards(lm: Lm, contexts: Tensor) -> None:
    for start in range(0, len(contexts), 64):
        batch = contexts[start : start + 64]
        lm.activations(batch, HOOKPOINT)
        for _ in range(4):
            lm.logits(batch)


def _take_turns(pair: Pair, rounds: int) -> list[tuple[float, float]]:
    times = []
    for turn in range(rounds + 1):
        ours, bare = (_seconds(run) for run in pair)
        if turn:  # the first warms up
            times.append((ours, bare))
    return times


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _figures(times: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "ours": statistics.median(ours for ours, _ in times),
        "bare": statistics.median(bare for _, bare in times),
        "ratio": statistics.median(ours / bare for ours, bare in times),
    }


if __name__ == "__main__":
    sys.exit(main())
