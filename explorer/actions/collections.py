"""Taking away what was collected: rows, partitions, and the files that nothing else names. It happens at once, or where
somebody reads or loads for long it fails with LockNotAvailable and takes nothing away."""

from collections.abc import Iterable

from django.db import transaction

from explorer import artifacts, partitions
from explorer.actions import editions
from explorer.models import (
    Activity,
    Artifact,
    Collection,
    Context,
    Corpus,
    Document,
    Examples,
    Feature,
    FeatureMap,
    LanguageModel,
    Sae,
    TokenIndex,
)

OF_COLLECTION = (TokenIndex, Examples, Activity)
OF_CORPUS = (Context, Document)


@transaction.atomic
def remove_collection(collection_id: int) -> None:
    partitions.give_up_soon()
    collection = Collection.objects.select_for_update().get(pk=collection_id)
    Collection.objects.filter(pk=collection_id).delete()
    editions.of(collection.sae_id)
    forget_rows(collection)


def forget_rows(collection: Collection) -> None:
    """For the end of a transaction that has removed it: nobody reads any collection from here on until it commits."""
    partitions.drop(OF_COLLECTION, collection.pk)
    _forget_later(collection.evidence_id)


@transaction.atomic
def remove_sae(sae_id: int) -> None:
    """With its features, labels and collections."""
    partitions.give_up_soon()
    sae = Sae.objects.select_for_update().get(pk=sae_id)
    for each in FeatureMap.objects.filter(parts__sae=sae).order_by("pk"):  # which have a hole without it
        remove_map(each.pk)
    for collection in sae.collections.order_by("pk"):
        remove_collection(collection.pk)
    sae.delete()
    partitions.drop((Feature,), sae_id)
    _forget_later(sae.weights_id)


@transaction.atomic
def remove_map(map_id: int) -> None:
    found = FeatureMap.objects.select_for_update().filter(pk=map_id).first()
    if found is None:
        return  # somebody else has done it
    for sae_id in found.parts.values_list("sae", flat=True):
        editions.of(sae_id)
    found.delete()
    _forget_later(found.points_id, found.tiles_id)


@transaction.atomic
def remove_corpus(corpus_id: int) -> None:
    """With all that was collected over it."""
    partitions.give_up_soon()
    corpus = Corpus.objects.select_for_update().get(pk=corpus_id)
    for collection in corpus.collections.order_by("pk"):
        remove_collection(collection.pk)
    corpus.delete()
    partitions.drop(OF_CORPUS, corpus_id)
    _forget_later(*corpus.files.values())


@transaction.atomic
def remove_lm(lm_id: int) -> None:
    """With all its SAEs."""
    partitions.give_up_soon()
    lm = LanguageModel.objects.select_for_update().get(pk=lm_id)
    for sae in lm.saes.order_by("pk"):
        remove_sae(sae.pk)
    lm.delete()
    _forget_later(lm.vocabulary_id, lm.unembedding_id)


def forget_unnamed(hashes: Iterable[str]) -> None:
    """Removes those artifacts that no row names, their bytes too where the row was taken back already."""
    wanted = {each for each in hashes if each}
    named = set(LanguageModel.objects.filter(vocabulary__in=wanted).values_list("vocabulary", flat=True))
    named |= set(LanguageModel.objects.filter(unembedding__in=wanted).values_list("unembedding", flat=True))
    named |= set(Sae.objects.filter(weights__in=wanted).values_list("weights", flat=True))
    for column in ("points", "tiles"):
        named |= set(FeatureMap.objects.filter(**{f"{column}__in": wanted}).values_list(column, flat=True))
    named |= set(Collection.objects.filter(evidence__in=wanted).values_list("evidence", flat=True))
    for files in Corpus.objects.values_list("files", flat=True):
        named |= set(files.values())
    for sha256 in wanted - named:
        artifacts.remove(Artifact(sha256=sha256))


def _forget_later(*hashes: str | None) -> None:
    """Once the rows that named them are gone for good."""
    given = [each for each in hashes if each]
    transaction.on_commit(lambda: forget_unnamed(given))
