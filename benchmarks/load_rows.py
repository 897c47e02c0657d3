"""The database's side of `benchmarks/load.py`; imported once Django is set up."""

from pathlib import Path

from django.db import connection

from explorer.actions.collections import remove_sae
from explorer.models import Collection, Corpus, LanguageModel, Sae
from explorer.partitions import OWNERS
from explorer.work import loading


def corpus(folder: Path) -> Corpus:
    return loading.load_corpus(folder, "synthetic")


def collection(n: int, firings: int, corpus: Corpus, evidence: Path) -> Collection:
    lm, _ = LanguageModel.objects.get_or_create(
        fingerprint="synthetic",
        defaults={"slug": "lm", "name": "lm", "kind": "gpt2", "n_layers": 1, "d_model": 8, "n_vocab": 50_257},
    )
    name = f"{n}-{firings}"
    sae = Sae.objects.create(
        slug=name,
        name=name,
        lm=lm,
        hookpoint="blocks.0.hook_resid_post",
        family="topk",
        d_in=8,
        d_out=8,
        n_latents=n,
        config={},
        fingerprint=name,
    )
    return loading.load_collection(sae, corpus, evidence)


def sizes(collection: Collection) -> dict[str, int]:
    """Bytes of each kind of row, with indexes and what lies beside the rows."""
    found = {}
    owners = {"corpus_id": collection.corpus_id, "sae_id": collection.sae_id, "collection_id": collection.pk}
    with connection.cursor() as cursor:
        for model, owner in OWNERS.items():
            table = f"{model._meta.db_table}_{owners[owner]}"
            cursor.execute("SELECT pg_total_relation_size(%s)", [table])
            found[model._meta.db_table.removeprefix("explorer_")] = int(cursor.fetchone()[0])
    return found


def drop(collection: Collection) -> None:
    remove_sae(collection.sae_id)
