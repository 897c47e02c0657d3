"""The rows of an lm and an SAE that were read; the same again are found."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from explorer import vocabulary
from explorer.models import LanguageModel, Sae
from explorer.plain import plain
from explorer.work.attempt import Attempt, Refused
from explorer.work.loading import free_slug
from explorer.work.reading import Given
from sae_core import Lm, save_sae

Put = Callable[[Path, str], str]  # keeps a file as an artifact: its sha256


@dataclass(frozen=True)
class Files:
    """What rows name: artifacts, kept before there are rows."""

    weights: str | None
    vocabulary: str | None


def keep_files(lm: Lm, given: Given, folder: Path, put: Put) -> Files:
    weights = save_sae(given.sae, folder / "weights") / "sae.safetensors"
    kept = put(weights, f"{free_slug(Sae, given.name)}.safetensors") if weights.is_file() else None
    if lm.tokenizer is None:
        return Files(kept, None)
    blob, starts = lm.tokenizer.table
    tokens = [blob[first:stop] for first, stop in pairwise(starts.tolist())]
    words = folder / "vocabulary"
    words.write_bytes(vocabulary.write(tokens, lm.tokenizer.special_ids))
    return Files(kept, put(words, f"{free_slug(LanguageModel, lm.name)}.vocabulary"))


def lm_row(lm: Lm, source: str, files: Files) -> LanguageModel:
    """Its weights are what it is known by; where they were last found is where workers look for them."""
    row, made = LanguageModel.objects.get_or_create(
        fingerprint=lm.fingerprint,
        defaults={
            "slug": free_slug(LanguageModel, _last(lm.name)),
            "name": plain(lm.name)[:200],
            "source": source,
            "kind": lm.layout.kind,
            "n_layers": lm.n_layers,
            "d_model": lm.d_model,
            "n_vocab": lm.n_vocab,
            "mask_ids": list(lm.mask_ids),
            "tokenizer": lm.tokenizer.fingerprint if lm.tokenizer else "",
            "vocabulary_id": files.vocabulary,
        },
    )
    if made:
        return row
    if lm.tokenizer and row.tokenizer not in ("", lm.tokenizer.fingerprint):
        raise Refused(f"{source}: these weights are in the library as {row.name}, with another tokenizer.")
    row.source = source
    if lm.tokenizer and not row.tokenizer:
        row.tokenizer, row.vocabulary_id = lm.tokenizer.fingerprint, files.vocabulary
    row.save()
    return row


def sae_row(attempt: Attempt, lm: LanguageModel, given: Given, fit: dict[str, Any], files: Files) -> Sae:
    sae = given.sae
    config = json.loads(json.dumps(asdict(sae.config)))
    row, _ = Sae.objects.get_or_create(
        lm=lm,
        fingerprint=hashlib.sha256(json.dumps([config, files.weights], sort_keys=True).encode()).hexdigest(),
        defaults={
            "slug": free_slug(Sae, _last(given.name)),
            "name": plain(given.name)[:200],
            "hookpoint": sae.hookpoint,
            "hookpoint_out": sae.hookpoint_out if sae.config.transcoder else "",
            "family": str(sae.config.family),
            "d_in": sae.d_in,
            "d_out": sae.d_out,
            "n_latents": sae.n_latents,
            "config": config,
            "weights_id": files.weights,
            "source": plain(given.source)[:1000],
            "fit": fit,
            "created_by": attempt.job.created_by,
        },
    )
    return row


def _last(name: str) -> str:
    """Of a hub id what comes after its owner; words that dots and colons part stay apart."""
    return name.rsplit("/", 1)[-1].replace(".", "-").replace(":", "-")
