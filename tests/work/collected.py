"""A small lm, SAE and corpus, read and loaded: what tests of rows, pages and jobs begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer.models import Collection, Corpus, LanguageModel, Sae
from explorer.work.loading import load_collection, load_corpus
from sae_core import build_corpus, collect_evidence, save_sae
from sae_core.config import Family, SaeConfig
from sae_core.lm import Lm
from sae_core.sae import Sae as CoreSae
from tests.sae_core import small_lms
from tests.sae_core.small_tokenizers import TEXTS, gpt2_like, made

END = "<|endoftext|>"
HOOKPOINT = "blocks.1.hook_resid_post"


@dataclass(frozen=True)
class Collected:
    lm: Lm
    sae: CoreSae
    opened: Any  # sae_core's corpus
    evidence: Path
    corpus: Corpus
    rows: Sae
    collection: Collection


def small_lm(folder: Path, **changes: Any) -> Lm:
    """Of GPT-2's class, with a tokenizer whose characters are split over tokens; saved in `folder`, as anybody saves
    one. `changes` are of its config."""
    tokenizer = made(gpt2_like(), folder, bos_token=END, eos_token=END)
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    hf = small_lms.new_lm("gpt2", vocab_size=tokenizer.n_vocab, **ids | changes)
    hf.save_pretrained(folder)
    return Lm(hf, tokenizer, folder.name)


def small_sae(n_latents: int = 37, *, k: int = 5, seed: int = 0) -> CoreSae:
    generator = torch.Generator().manual_seed(seed)
    d = small_lms.D_MODEL
    W_dec = torch.randn(n_latents, d, generator=generator)
    b_enc = torch.randn(n_latents, generator=generator) * 0.3
    b_enc[3] = -1000.0  # never fires
    tensors = {"W_enc": W_dec.T.contiguous(), "W_dec": W_dec, "b_enc": b_enc, "b_dec": torch.zeros(d)}
    return CoreSae(SaeConfig(Family.TOPK, d, n_latents, k=k, hookpoint=HOOKPOINT), tensors)


def texts(folder: Path, some: Sequence[str] = TEXTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(some):
        (folder / f"{number:02}.txt").write_text(f"{text}{number} {text[::-1]}", encoding="utf-8")
    return folder


def collected(folder: Path, *, context_length: int = 16, **options: Any) -> Collected:
    lm, sae = small_lm(folder / "lm"), small_sae(**options)
    opened = build_corpus([texts(folder / "texts")], lm.tokenizer, folder / "corpus", context_length=context_length)
    evidence = folder / "evidence.safetensors"
    collect_evidence(lm, [sae], opened.contexts, [evidence], lengths=opened.lengths, pieces=opened.pieces)
    save_sae(sae, folder / "sae")
    corpus = load_corpus(folder / "corpus", "texts")
    rows = sae_row(lm, sae)
    return Collected(lm, sae, opened, evidence, corpus, rows, load_collection(rows, corpus, evidence))


def sae_row(lm: Lm, sae: CoreSae, name: str = "a small SAE") -> Sae:
    row, _ = LanguageModel.objects.get_or_create(
        fingerprint=lm.fingerprint,
        defaults={
            "slug": "lm", "name": lm.name, "source": lm.name, "kind": "gpt2", "n_layers": lm.n_layers,
            "d_model": lm.d_model, "n_vocab": lm.n_vocab,
        },
    )  # fmt: skip
    return Sae.objects.create(
        slug=name.replace(" ", "-"),
        name=name,
        lm=row,
        hookpoint=sae.hookpoint,
        family=str(sae.config.family),
        d_in=sae.d_in,
        d_out=sae.d_out,
        n_latents=sae.n_latents,
        config={},
        fingerprint=f"{name}"[:64],
    )
