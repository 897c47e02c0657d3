"""What there is: language models, SAEs, text."""

from collections.abc import Iterable
from functools import lru_cache

from django.db.models import Count, Prefetch, Q, QuerySet

from explorer.models import Collection, Corpus, LanguageModel, Sae
from explorer.queries import maps, versions

KEPT = 64  # SAEs


def saes() -> list[Sae]:
    """By lm and hookpoint, each with its newest collection as `.collection`."""
    return _with_collection(Sae.objects.order_by("lm__name", "hookpoint", "n_latents", "name"))


def saes_of(ids: Iterable[int]) -> list[Sae]:
    return _with_collection(Sae.objects.filter(pk__in=list(ids)).order_by("pk"))


def sae(slug: str) -> Sae | None:
    """With its newest collection as `.collection`. Every page of its features begins with it, so it is asked for
    without what serves many at once."""
    found = Sae.objects.select_related("lm").filter(slug=slug).first()
    if found:
        found.collection = collections_of(found).first()
    return found


def sae_to_read(slug: str) -> Sae | None:
    """As `sae` gives it, with its newest map; the same object as long as its edition is the same: for reading alone."""
    version = versions.of_sae(slug)
    return _of_edition(slug, *version) if version else None


@lru_cache(KEPT)
def _of_edition(slug: str, pk: int, edition: int) -> Sae | None:
    found = sae(slug)
    if found:
        found.newest_map = maps.newest(found)
    return found


def at_hookpoint_of(sae: Sae) -> QuerySet[Sae]:
    """Others that write where it does, so that their directions can be compared."""
    there = Q(hookpoint_out="", hookpoint=sae.hookpoint_out or sae.hookpoint) | Q(
        hookpoint_out=sae.hookpoint_out or sae.hookpoint
    )
    return Sae.objects.filter(there, lm=sae.lm_id).exclude(pk=sae.pk).order_by("n_latents", "name")


def lms() -> QuerySet[LanguageModel]:
    return LanguageModel.objects.annotate(n_saes=Count("saes")).order_by("name")


def lm_by_fingerprint(fingerprint: str) -> LanguageModel | None:
    return LanguageModel.objects.filter(fingerprint=fingerprint).first()


def corpora() -> QuerySet[Corpus]:
    return Corpus.objects.order_by("name")


def collections_of(sae: Sae) -> QuerySet[Collection]:
    return sae.collections.select_related("corpus").order_by("-pk")


def newest(sae: Sae) -> Collection | None:
    """The collection that pages show, as `saes` and `sae` have attached it."""
    return sae.collection


def _with_collection(q: QuerySet[Sae]) -> list[Sae]:
    collections = Collection.objects.select_related("corpus").order_by("-pk")
    found = list(q.select_related("lm", "created_by").prefetch_related(Prefetch("collections", queryset=collections)))
    for each in found:
        each.collection = next(iter(each.collections.all()), None)
    return found
