from datetime import datetime
from typing import Annotated, Any

from django.urls import reverse
from ninja import P, PathEx, Router, Schema
from pydantic import Field

from explorer import densities, vocabulary
from explorer.access import READERS
from explorer.api.auth import CallerRequest, needs
from explorer.gates import feature_to_see, sae_to_see
from explorer.models import Collection, Sae
from explorer.models.access import Scope
from explorer.models.features import UNKNOWN
from explorer.queries import library as library_queries
from explorer.queries.features import FeaturePage, Shown
from explorer.tokens import Vocabulary
from explorer.vectors import Side

router = Router(tags=["SAEs"])

reading = needs(READERS, Scope.READ)
Slug = PathEx[str, P(max_length=80, description="As in its page’s address.")]
Index = PathEx[int, P(ge=0, le=2**31 - 1, description="Of the latent.")]


class CollectionOut(Schema):
    """What the SAE was read over."""

    corpus: str
    tokens: Annotated[int, Field(description="That count")]
    masked: int
    n_never_fired: int
    created_at: datetime
    evidence: Annotated[str, Field(description="The sha256 of evidence.safetensors, an artifact")]

    @staticmethod
    def resolve_corpus(collection: Collection) -> str:
        return collection.corpus.slug

    @staticmethod
    def resolve_evidence(collection: Collection) -> str:
        return str(collection.evidence_id)


class SaeOut(Schema):
    """A sparse autoencoder."""

    slug: str
    name: str
    lm: str
    hookpoint: str
    hookpoint_out: Annotated[str, Field(description="Empty unless it is a transcoder")]
    family: str
    d_in: int
    d_out: int
    n_latents: int
    fingerprint: str
    fit: Annotated[dict[str, Any] | None, Field(description="What the fit check found")]
    metrics: Annotated[dict[str, Any] | None, Field(description="None: not measured yet")]
    collection: Annotated[CollectionOut | None, Field(description="None: not collected yet")]
    page: Annotated[str, Field(description="Where a person finds it")]

    @staticmethod
    def resolve_lm(sae: Sae) -> str:
        return sae.lm.slug

    @staticmethod
    def resolve_page(sae: Sae) -> str:
        return reverse("sae", args=[sae.slug])


class TokenValue(Schema):
    token: int
    text: str
    value: float


class LensOut(Schema):
    """What it adds to logits."""

    top: list[TokenValue]
    bottom: list[TokenValue]
    std: float
    skew: float
    kurtosis: float
    low: float
    high: float
    histogram: Annotated[list[int], Field(description="Tokens in equal bins from low to high")]


class Example(Schema):
    """A context, at one token of it."""

    value: float
    context: int
    position: int
    document: str
    offset: Annotated[int, Field(description="Of that token in the document")]
    ids: list[int]
    tokens: list[str]
    activations: list[float]


class IntervalOut(Schema):
    low: float
    high: float
    n_fired: int
    share_of_firings: float
    share_of_mass: float
    examples: list[Example]


class ExamplesOut(Schema):
    top: list[Example]
    distinct: Annotated[list[Example], Field(description="The strongest whose windows of ±8 tokens differ")]
    strip: Annotated[list[Example], Field(description="Drawn uniformly from all its firings")]
    intervals: list[IntervalOut]
    near_misses: list[Example]


class ActivityOut(Schema):
    """Its figures over the text that was read."""

    tokens: int
    n_fired: int
    density: float
    density_low: Annotated[float, Field(description="With 95 % confidence")]
    density_high: float
    n_contexts: int
    n_documents: int
    maximum: float
    mean: float
    deviation: float
    p99: float


class NeighbourOut(Schema):
    index: int
    cosine: float
    label: str | None


class TogetherOut(Schema):
    index: int
    n: int
    phi: float
    label: str | None


class BarOut(Schema):
    """Of the histogram of activations, eight of them an octave."""

    low: float
    high: float
    n_fired: int


class CorrelatedOut(Schema):
    index: int
    pearson: float


class AlignedOut(Schema):
    index: int
    weight: Annotated[float, Field(description="In its decoder direction")]


class FeatureScoreOut(Schema):
    """What the newest study that shows its scores found."""

    mean: Annotated[float, Field(description="Of totals")]
    n: Annotated[int, Field(description="Scores")]
    above: Annotated[int, Field(description="Of them above the line")]
    line: int
    most: Annotated[int, Field(description="The highest total that there is")]
    study: Annotated[int, Field(description="Its id")]


class FeatureOut(Schema):
    """One latent of an SAE."""

    sae: str
    index: int
    label: str | None
    score: FeatureScoreOut | None
    decoder_norm: float
    encoder_cosine: Annotated[float | None, Field(description="Of its two directions; None for transcoders")]
    activity: ActivityOut | None
    lens: LensOut | None
    inputs: list[TokenValue]
    neighbours: list[NeighbourOut]
    together: list[TogetherOut]
    neurons: Annotated[list[CorrelatedOut], Field(description="Whose activations go with its own")]
    aligned: Annotated[list[AlignedOut], Field(description="Neurons that weigh most in its decoder direction")]
    histogram: Annotated[list[BarOut], Field(description="Of its activations; bars without tokens are left out")]
    examples: ExamplesOut | None
    page: str
    vectors: Annotated[dict[str, str], Field(description="Where its directions are, as JSON")]


@router.get("", response=list[SaeOut], summary="All SAEs", **reading)
def list_saes(request: CallerRequest) -> Any:
    return library_queries.saes()


@router.get("/{slug:slug}", response=SaeOut, summary="One SAE", **reading)
def get_sae(request: CallerRequest, slug: Slug) -> Any:
    return sae_to_see(slug)


@router.get(
    "/{slug:slug}/features/{row:index}", response=FeatureOut, summary="One feature, with its examples", **reading
)
def get_feature(request: CallerRequest, slug: Slug, index: Index) -> Any:
    """All that its page shows."""
    page = feature_to_see(slug, index)
    words = vocabulary.of(page.sae.lm)
    return {
        "sae": page.sae.slug,
        "index": page.index,
        "label": page.label.text if page.label else None,
        "score": page.scored,
        "decoder_norm": page.feature.decoder_norm,
        "encoder_cosine": None if page.feature.encoder_cosine == UNKNOWN else page.feature.encoder_cosine,
        "activity": _activity(page),
        "lens": _lens(words, page),
        "inputs": _named(words, page.inputs),
        "neighbours": page.neighbours,
        "together": page.together,
        "neurons": page.neurons,
        "aligned": page.aligned,
        "histogram": page.examples.histogram if page.examples else [],
        "examples": _examples(words, page),
        "page": reverse("feature", args=[page.sae.slug, page.index]),
        "vectors": {side: reverse("vector_json", args=[page.sae.slug, page.index, side]) for side in Side},
    }


def _activity(page: FeaturePage) -> dict[str, Any] | None:
    if page.activity is None or page.collection is None:
        return None
    tokens, n_fired = page.collection.tokens, page.activity.n_fired
    low, high = densities.interval(n_fired, tokens)
    of_density = {"tokens": tokens, "density": n_fired / tokens, "density_low": low, "density_high": high}
    names = ("n_fired", "n_contexts", "n_documents", "maximum", "mean", "deviation", "p99")
    return of_density | {name: getattr(page.activity, name) for name in names}


def _lens(words: Vocabulary, page: FeaturePage) -> dict[str, Any] | None:
    if page.lens is None:
        return None
    names = ("std", "skew", "kurtosis", "low", "high", "histogram")
    tables = {"top": _named(words, page.lens.top), "bottom": _named(words, page.lens.bottom)}
    return tables | {name: getattr(page.lens, name) for name in names}


def _named(words: Vocabulary, logits: list[Any]) -> list[dict[str, Any]]:
    texts = words.text([each.token for each in logits])
    return [{"token": each.token, "text": text, "value": each.value} for each, text in zip(logits, texts, strict=True)]


def _examples(words: Vocabulary, page: FeaturePage) -> dict[str, Any] | None:
    found = page.examples
    if found is None:
        return None
    intervals = [
        {name: getattr(each, name) for name in ("low", "high", "n_fired", "share_of_firings", "share_of_mass")}
        | {"examples": _shown(words, each.shown)}
        for each in found.intervals
    ]
    names = ("top", "distinct", "strip", "near_misses")
    return {name: _shown(words, getattr(found, name)) for name in names} | {"intervals": intervals}


def _shown(words: Vocabulary, shown: list[Shown]) -> list[dict[str, Any]]:
    names = ("value", "context", "position", "document", "offset", "ids", "activations")
    return [{name: getattr(each, name) for name in names} | {"tokens": words.text(each.ids)} for each in shown]
