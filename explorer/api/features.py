from typing import Annotated, Any, Literal

from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404
from ninja import Query, Router, Schema
from pydantic import Field

from explorer import vocabulary
from explorer.access import READERS
from explorer.api.auth import CallerRequest, needs
from explorer.api.keyset import BIGGEST, LONGEST_PAGE, Page, cursor
from explorer.api.saes import Slug
from explorer.gates import sae_to_see
from explorer.models import Sae
from explorer.models.access import Scope
from explorer.queries import browsing
from explorer.queries import library as library_queries
from explorer.queries.browsing import Asked, Place, Way
from explorer.queries.filtering import RANGES, RISING, Filters, Fires, Range, Sort, lists_to_see
from explorer.queries.words import words_of
from explorer.records import record
from explorer.singles import LARGEST
from explorer.tokens import token_ids

router = Router(tags=["SAEs"])

Share = Annotated[float | None, Field(ge=0, le=1, description="A share of tokens. Ends are included.")]
Real = Annotated[float | None, Field(ge=-LARGEST, le=LARGEST, description="Compared in single precision.")]
Index = Annotated[int | None, Field(ge=0, le=2**31 - 1)]


class FeatureRow(Schema):
    """A feature in a list. Null is what is not known, or what no text was read for."""

    index: int
    label: str | None
    tokens: Annotated[int | None, Field(description="That were read, and count")]
    density: float | None
    n_fired: int | None
    n_contexts: int | None
    n_documents: int | None
    maximum: float | None
    mean: Annotated[float | None, Field(description="Over the tokens where it fires")]
    deviation: float | None
    p99: Annotated[float | None, Field(description="The 99th percentile of its activations where it fires")]
    top_token: Annotated[int | None, Field(description="Whose logit it raises most")]
    top_token_text: str | None
    decoder_norm: float
    neighbour_cosine: Annotated[float | None, Field(description="Of its decoder direction and the nearest")]
    encoder_cosine: Annotated[float | None, Field(description="Of its encoder and decoder direction")]
    score: Annotated[float | None, Field(description="The mean total of the newest study that shows its scores")]
    page: Annotated[str, Field(description="Where a person finds it")]


class FeaturesWanted(Schema):
    """As in the address of the page."""

    sort: Annotated[Sort, Field(description="By label or score: of features that have one")] = Sort.INDEX
    dir: Annotated[
        Literal["asc", "desc"] | None,
        Field(description="Unless said: rising by index, label and token, falling by figures"),
    ] = None
    words: Annotated[str | None, Field(max_length=200, description="Beginnings of words of the label, all of them")] = (
        None
    )
    token: Annotated[
        str | None, Field(max_length=200, description="That it raises most: its text, or # and its id")
    ] = None
    list: Annotated[int | None, Field(ge=1, le=BIGGEST, description="The id of a list that holds it")] = None
    fires: Fires | None = None
    labelled: Literal["yes", "no"] | None = None
    density_min: Share = None
    density_max: Share = None
    maximum_min: Real = None
    maximum_max: Real = None
    mean_min: Real = None
    mean_max: Real = None
    p99_min: Real = None
    p99_max: Real = None
    decoder_norm_min: Real = None
    decoder_norm_max: Real = None
    neighbour_cosine_min: Real = None
    neighbour_cosine_max: Real = None
    encoder_cosine_min: Real = None
    encoder_cosine_max: Real = None
    score_min: Real = None
    score_max: Real = None
    index_min: Index = None
    index_max: Index = None
    after: Annotated[str | None, Field(pattern="^(0|[1-9][0-9]{0,8})$", description="`next` of the page before.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE, description="How many items at most.")] = 50

    def filters(self, sae: Sae, user: User | AnonymousUser) -> Filters:
        if self.list is not None and not lists_to_see(user).filter(pk=self.list).exists():
            raise Http404(f"There is no list {self.list}.")
        ranges = (Range(name, getattr(self, f"{name}_min"), getattr(self, f"{name}_max")) for name in RANGES)
        return Filters(
            sort=self.sort,
            descending=self.dir == "desc" if self.dir else self.sort not in RISING,
            ranges=tuple(each for each in ranges if each.bounded),
            fires=self.fires,
            labelled=None if self.labelled is None else self.labelled == "yes",
            words=words_of(self.words) if self.words else None,
            tokens=token_ids(vocabulary.of(sae.lm), self.token) if self.token else None,
            list=self.list,
        )


@router.get(
    "/{slug:slug}/features",
    response=Page[FeatureRow],
    summary="Features, sorted and filtered",
    **needs(READERS, Scope.READ),
)
def list_features(request: CallerRequest, slug: Slug, wanted: Query[FeaturesWanted]) -> Any:
    """The rows of the SAE’s browser. A page goes on after a feature, wherever that stands in the order asked for."""
    sae = sae_to_see(slug)
    collection = library_queries.newest(sae)
    asked = Asked(sae, collection, wanted.filters(sae, request.auth.user).beside(collection))
    place = Place(Way.AFTER, int(wanted.after)) if wanted.after else None
    page = browsing.page(asked, place, wanted.limit)
    words = vocabulary.of(sae.lm)
    return {"items": [record(asked, words, row) for row in page.rows], "next": cursor(page.after)}
