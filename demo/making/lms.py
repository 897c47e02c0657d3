"""The demo's tokenizer and language models, trained from nothing."""

import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

import sae_core
from making.text import PARTS, Part
from sae_core.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM

DEMO = Path(__file__).resolve().parent.parent
N_VOCAB = 4096
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
CONTEXT_LENGTH = 256  # in training the lms
SHOWN_LENGTH = 128  # in training the SAEs, and of what the explorer shows
# How often the files of a source are read: prose more than code, and the translations, few as they are, often.
TIMES = {"python-docs": 2, "django-docs": 2, "sphinx-docs": 2, "django-locale": 8, "wagtail-locale": 8}
SAE_TIMES = {"django-locale": 3, "wagtail-locale": 3}


def make_tokenizer(work: Path, demo: Path) -> None:
    """Byte-level BPE, of the lm's part of the text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train(
        [str(file) for each in _folders(work, "lm-training", TIMES) for file in sorted(each.rglob("*.txt"))], trainer
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD)
    fast.save_pretrained(work / "tokenizer")
    file = work / "tokenizer" / "tokenizer.json"  # it goes with every lm: without white space
    file.write_text(
        json.dumps(json.loads(file.read_text()), ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )


def make_corpora(work: Path, demo: Path) -> None:
    """The tokens of each part; the held-out ones go into the bundle."""
    tokenizer = sae_core.Tokenizer.load(work / "tokenizer")
    places = {"lm-training": work / "corpora", "sae-training": work / "corpora", "held-out": demo}
    for part in PARTS:
        out = places[part] / ("corpus" if part == "held-out" else part)
        shutil.rmtree(out, ignore_errors=True)
        times = {"lm-training": TIMES, "sae-training": SAE_TIMES, "held-out": {}}[part]
        length = CONTEXT_LENGTH if part == "lm-training" else SHOWN_LENGTH
        with chdir(work / "text" / part):  # documents are named from here
            sources = [each.relative_to(Path.cwd()) for each in _folders(work, part, times)]
            made = sae_core.build_corpus(sources, tokenizer, out.resolve(), context_length=length)
        print(f"{part}: {made.config.tokens:,} tokens in {made.config.contexts:,} contexts", flush=True)


def _folders(work: Path, part: Part, times: dict[str, int]) -> list[Path]:
    folders = sorted(each for each in (work.resolve() / "text" / part).iterdir() if each.is_dir())
    return [each for each in folders for _ in range(times.get(each.name, 1))]


@dataclass(frozen=True)
class Recipe:
    """An lm and how it is trained. The learning rate rises over the first 2 % and falls as a cosine to a tenth."""

    build: Callable[[], PreTrainedModel]
    tokens: int
    learning_rate: float
    batch_size: int = 32  # contexts
    seed: int = 0


def _one_layer() -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=N_VOCAB, n_positions=CONTEXT_LENGTH, n_embd=128, n_layer=1, n_head=4, n_inner=512,
            activation_function="relu", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
            attn_implementation="eager", **IDS,
        )
    )  # fmt: skip


def _attention_only() -> PreTrainedModel:
    return AttentionOnlyForCausalLM(
        AttentionOnlyConfig(
            vocab_size=N_VOCAB, hidden_size=80, num_hidden_layers=1, num_attention_heads=4,
            max_position_embeddings=CONTEXT_LENGTH, **IDS,
        )
    )  # fmt: skip


def _deep() -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=N_VOCAB, hidden_size=256, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=CONTEXT_LENGTH, tie_word_embeddings=True,
            attn_implementation="eager", **IDS,
        )
    )  # fmt: skip


def _again(name: str) -> PreTrainedModel:
    """The lm as the stage before left it in the bundle, which goes on with a schedule of its own."""
    hf: PreTrainedModel = LlamaForCausalLM.from_pretrained(
        DEMO / "lms" / name, dtype=torch.float32, attn_implementation="eager"
    )
    return hf


RECIPES = {
    "one-layer": Recipe(_one_layer, 9_000_000, 3e-3),
    "attention-only": Recipe(_attention_only, 10_000_000, 4e-3),
    "deep": Recipe(_deep, 16_000_000, 2e-3),
    "deep-on": Recipe(lambda: _again("deep"), 14_000_000, 1.5e-3, seed=1),
}


def make_lm(name: str, work: Path, demo: Path) -> None:
    """demo/lms/<name>, in float16, its tokenizer with it; what it scored is left in work/lms/<name>.json."""
    recipe = RECIPES[name]
    set_seed(recipe.seed)
    hf = recipe.build()
    contexts = sae_core.open_corpus(work / "corpora" / "lm-training").contexts
    started = time.perf_counter()
    train(hf, contexts, recipe)
    seconds = time.perf_counter() - started
    folder = demo / "lms" / name.removesuffix("-on")
    save(hf, folder, work)
    held_out = sae_core.open_corpus(demo / "corpus")
    told = {
        "parameters": sum(each.numel() for each in hf.parameters()),
        "tokens": recipe.tokens,
        "minutes": round(seconds / 60, 1),
        "held_out_loss": round(loss_on(hf, held_out.contexts), 3),
        "continuations": continuations(folder) if "deep" in name else [],
    }
    (work / "lms").mkdir(exist_ok=True)
    (work / "lms" / f"{name}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
    print(name, told, flush=True)


def make_twin(work: Path, demo: Path) -> None:
    """The one-layer lm as it was before the first step, from another seed."""
    set_seed(1)
    save(_one_layer(), demo / "lms" / "one-layer-untrained", work)


def save(hf: PreTrainedModel, folder: Path, work: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    hf.half().save_pretrained(folder)
    hf.float()
    shutil.copytree(work / "tokenizer", folder, dirs_exist_ok=True)


def train(hf: PreTrainedModel, contexts: NDArray[Any], recipe: Recipe) -> None:
    rng = np.random.default_rng(recipe.seed)
    decayed = [each for each in hf.parameters() if each.dim() > 1]
    others = [each for each in hf.parameters() if each.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
    steps = recipe.tokens // (recipe.batch_size * CONTEXT_LENGTH)
    waiting, smoothed, started = np.empty(0, np.int64), math.log(N_VOCAB), time.perf_counter()
    hf.train()
    for step in range(steps):
        if len(waiting) < recipe.batch_size:
            waiting = np.concatenate([waiting, rng.permutation(len(contexts))])
        drawn, waiting = waiting[: recipe.batch_size], waiting[recipe.batch_size :]
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, steps)
        loss = _loss(hf, contexts[np.sort(drawn)])
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(hf.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        smoothed += (loss.item() - smoothed) * 0.02
        if step % 50 == 0 or step == steps - 1:
            rate = (step + 1) * recipe.batch_size * CONTEXT_LENGTH / (time.perf_counter() - started)
            print(f"step {step} of {steps}: loss {smoothed:.3f}, {rate:,.0f} tokens/s", flush=True)
    hf.eval()


def _schedule(step: int, steps: int) -> float:
    warmup = steps // 50
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _loss(hf: PreTrainedModel, contexts: NDArray[Any]) -> torch.Tensor:
    ids = torch.from_numpy(contexts.astype(np.int64))
    with torch.autocast("cpu", torch.bfloat16):  # the products; several times faster where the CPU knows bfloat16
        logits = hf(input_ids=ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


@torch.no_grad()
def loss_on(hf: PreTrainedModel, contexts: NDArray[Any], n: int = 2048) -> float:
    """Of `n` contexts drawn evenly, in float32, nats a token."""
    drawn = contexts[:: max(len(contexts) // n, 1)]
    losses = []
    for start in range(0, len(drawn), 64):
        ids = torch.from_numpy(drawn[start : start + 64].astype(np.int64))
        logits = hf(input_ids=ids, use_cache=False).logits
        losses.append(torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item())
    return sum(losses) / len(losses)


PROMPTS = (
    "def read_file(path):\n    ",
    "class TestDict(unittest.TestCase):\n    def test_",
    "The function returns a list of",
    "This module provides",
    "To use a custom template, you need to",
    "Выберите",
)


@torch.no_grad()
def continuations(folder: Path) -> list[tuple[str, str]]:
    """What the lm makes of a few prompts, drawn at temperature 0.7."""
    lm = sae_core.load_lm(folder, dtype="float32")
    assert lm.tokenizer is not None
    told = []
    for prompt in PROMPTS:
        torch.manual_seed(0)
        ids = torch.tensor([[0, *lm.tokenizer.encode(prompt)]])
        mask = torch.ones_like(ids)
        made = lm.hf.generate(
            ids, attention_mask=mask, max_new_tokens=60, do_sample=True, temperature=0.7, top_p=0.95, pad_token_id=2
        )
        told.append((prompt, lm.tokenizer.decode(made[0, ids.shape[1] :].tolist())))
    return told
