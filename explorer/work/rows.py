"""The rows of an lm and an SAE that were read; the same again are found."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from django.db import transaction

from explorer import vocabulary
from explorer.actions import editions
from explorer.actions.collections import forget_unnamed
from explorer.models import LanguageModel, Sae
from explorer.plain import plain
from explorer.work import unembedding
from explorer.work.attempt import Attempt, Refused
from explorer.work.loading import free_slug
from explorer.work.reading import Given
from sae_core import BadInput, Lm, save_sae

Put = Callable[[Path, str], str]  # keeps a file as an artifact: its sha256


@dataclass(frozen=True)
class Files:
    """What rows name: artifacts, kept before there are rows."""

    weights: str | None
    vocabulary: str | None
    unembedding: str | None  # None: there is one that will do, or the lm has none


def keep_files(lm: Lm, given: Given, folder: Path, put: Put) -> Files:
    weights = save_sae(given.sae, folder / "weights") / "sae.safetensors"
    kept = put(weights, f"{free_slug(Sae, given.name)}.safetensors") if weights.is_file() else None
    reading = _keep_unembedding(lm, given.sae.hookpoint_out, folder, put)
    if lm.tokenizer is None:
        return Files(kept, None, reading)
    blob, starts = lm.tokenizer.table
    tokens = [blob[first:stop] for first, stop in pairwise(starts.tolist())]
    words = folder / "vocabulary"
    words.write_bytes(vocabulary.write(tokens, lm.tokenizer.special_ids))
    return Files(kept, put(words, f"{free_slug(LanguageModel, lm.name)}.vocabulary"), reading)


def _keep_unembedding(lm: Lm, hookpoint: str, folder: Path, put: Put) -> str | None:
    lacking = unembedding.lacking(lm.fingerprint, hookpoint)
    if lacking is None:
        return None
    path = folder / "unembedding.safetensors"
    with suppress(BadInput):  # an lm whose final norm is not known has no lens either
        unembedding.write(lm, lacking, path)
    return put(path, f"{free_slug(LanguageModel, lm.name)}.unembedding.safetensors") if path.is_file() else None


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
            "unembedding_id": files.unembedding,
        },
    )
    if made:
        return row
    if lm.tokenizer and row.tokenizer not in ("", lm.tokenizer.fingerprint):
        raise Refused(f"{source}: these weights are in the library as {row.name}, with another tokenizer.")
    row.source = source
    shown = (row.unembedding_id, row.vocabulary_id)
    if files.unembedding and files.unembedding != row.unembedding_id:
        before, row.unembedding_id = row.unembedding_id, files.unembedding
        transaction.on_commit(lambda: forget_unnamed([before] if before else []))
    if lm.tokenizer and not row.tokenizer:
        row.tokenizer, row.vocabulary_id = lm.tokenizer.fingerprint, files.vocabulary
    row.save()
    if shown != (row.unembedding_id, row.vocabulary_id):
        editions.of_lm(row.pk)
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
