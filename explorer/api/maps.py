from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import Http404, HttpResponse
from django.urls import reverse
from ninja import P, PathEx, Query, Router, Schema
from ninja.errors import ValidationError
from ninja.responses import Status
from pydantic import BeforeValidator, Field

from explorer import cluster_names, map_points, vocabulary
from explorer.access import READERS
from explorer.actions import maps as map_actions
from explorer.api.auth import CallerRequest, needs
from explorer.api.jobs import JobDetail, accepted
from explorer.api.keyset import BIGGEST, LONGEST_PAGE, Page, Place, cursor
from explorer.api.lists import number
from explorer.api.saes import Index, Slug
from explorer.gates import address_of, map_to_change, map_to_see, sae_to_see
from explorer.map_areas import LONGEST, MOST_CORNERS, Area, area_of
from explorer.map_points import Point, Summary, parts
from explorer.models import FeatureMap, MapPart, Sae
from explorer.models.access import Role, Scope
from explorer.queries import library as library_queries
from explorer.queries import maps as map_queries

of_saes = Router(tags=["maps"])
router = Router(tags=["maps"])

reading = needs(READERS, Scope.READ)
changing = needs(Role.RESEARCHER, Scope.WRITE)
MapId = PathEx[int, P(ge=1, le=BIGGEST, description="As in its page’s address.")]
Named = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,80}$", description="As in its page’s address")]
NUMBER = BeforeValidator(number)
X = r"(-?0(\.[0-9]{1,9})?|-1|1(\.[0-9]{1,9})?|2)"


def words(pattern: str, description: str, longest: int = 200) -> Any:
    """Described by a pattern and not validated by it: what is wrong is told in words (map_areas). Empty is as if it
    were not given."""
    return Field(max_length=longest, description=description, json_schema_extra={"pattern": f"^({pattern})?$"})


class MapIn(Schema):
    """The same of the same is not made twice."""

    method: Literal["umap", "tsne"] = "umap"
    neighbours: Annotated[int, Field(ge=2, le=200, description="UMAP’s: of each, by cosine"), NUMBER] = 15
    min_dist: Annotated[float, Field(ge=0, le=0.99, description="UMAP’s: how tightly points may lie"), NUMBER] = 0.05
    perplexity: Annotated[float, Field(ge=2, le=100, description="t-SNE’s: how many neighbours count"), NUMBER] = 30.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1), NUMBER] = 0
    together: Annotated[list[Named], Field(max_length=15, description="Other SAEs that write where it does")] = []


class MapParameters(Schema):
    neighbours: int
    min_dist: float
    perplexity: float
    seed: int


class MapPartOut(Schema):
    """An SAE’s features on a map."""

    number: Annotated[int, Field(description="By which addresses and files name it")]
    sae: str
    n_points: int
    n_silent: Annotated[int, Field(description="Never fired, and so are not on it")]
    corpus: Annotated[str | None, Field(description="None: figures are of no text, or of one that was read anew since")]

    @staticmethod
    def resolve_sae(part: MapPart) -> str:
        return part.sae.slug

    @staticmethod
    def resolve_corpus(part: MapPart) -> str | None:
        return part.collection.corpus.slug if part.collection else None


class MapRow(Schema):
    """Features laid out in a plane, so that those whose directions are alike lie near each other."""

    id: int
    method: str
    parameters: Annotated[MapParameters, Field(validation_alias="asked")]
    n_points: int
    saes: list[MapPartOut]
    trustworthiness: Annotated[float, Field(description="1: what is near on it is near by direction. 0.5 is chance")]
    trusted_on: Annotated[int, Field(description="Over how many points that was found")]
    unclustered: Annotated[list[int], Field(description="Points in no cluster: coarse, middle, fine")]
    created_by: Annotated[str | None, Field(description="None: nobody who has signed in")]
    created_at: datetime
    points: Annotated[str, Field(description="Where all places are: an artifact, safetensors")]
    tiles: Annotated[str, Field(description="Where the index of what browsers draw is")]
    page: Annotated[str, Field(description="Where a person finds it")]

    @staticmethod
    def resolve_method(found: FeatureMap) -> str:
        return str(found.asked["method"])

    @staticmethod
    def resolve_saes(found: FeatureMap) -> list[MapPart]:
        return parts(found)

    @staticmethod
    def resolve_trustworthiness(found: FeatureMap) -> float:
        return float(found.about["trustworthiness"])

    @staticmethod
    def resolve_trusted_on(found: FeatureMap) -> int:
        return int(found.about["trusted_on"])

    @staticmethod
    def resolve_unclustered(found: FeatureMap) -> list[int]:
        return list(found.about["unclustered"])

    @staticmethod
    def resolve_created_by(found: FeatureMap) -> str | None:
        return found.created_by.username if found.created_by else None

    @staticmethod
    def resolve_points(found: FeatureMap) -> str:
        return reverse("artifact", args=[found.points_id])

    @staticmethod
    def resolve_tiles(found: FeatureMap) -> str:
        return reverse("map_index", args=[found.tiles_id])

    @staticmethod
    def resolve_page(found: FeatureMap) -> str:
        return reverse("map", args=[found.pk])


class ClusterOut(Schema):
    number: int
    name: Annotated[str, Field(description="By labels where enough have one, else by tokens that its features raise")]
    n: int
    x: Annotated[float, Field(description="From 0 to 1, as all places on a map")]
    y: float


class LegendBar(Schema):
    low: Annotated[float | None, Field(description="Above it; None: no end")]
    high: Annotated[float | None, Field(description="Up to it")]
    n: int


class MapDetail(MapRow):
    clusters: Annotated[list[list[ClusterOut]], Field(description="Coarse, middle, fine; of each the largest first")]
    legends: Annotated[dict[str, list[LegendBar]], Field(description="How many points have which density and so on")]

    @staticmethod
    def resolve_clusters(found: FeatureMap) -> list[list[cluster_names.Cluster]]:
        return cluster_names.clusters(found)


class SelectionWanted(Schema):
    """All that is given holds; nothing given is the whole map. As in the address of its page."""

    lasso: Annotated[
        str | None,
        words(f"{X},{X}(_{X},{X}){{2,{MOST_CORNERS - 1}}}", "Corners x,y from 0 to 1 with _ between them", LONGEST),
    ] = None
    box: Annotated[str | None, words(f"{X},{X},{X},{X}", "left,top,right,bottom from 0 to 1")] = None
    cluster: Annotated[str | None, words("[0-2]-(none|[0-9]{1,7})", "Grain and number; or none: in none of it")] = None
    bar: Annotated[str | None, words("(density|maximum|mean)-[0-9]{1,2}", "Legend and number")] = None
    part: Annotated[str | None, words("[0-9]{1,3}", "The number of an SAE on the map")] = None
    after: Annotated[str | None, Field(pattern="^(0|[1-9][0-9]{0,8})$", description="`next` of the page before.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE, description="How many items at most.")] = 50

    def area(self, found: FeatureMap) -> Area:
        area, wrong = area_of(self.dict(), found)
        if wrong:
            raise ValidationError([{"loc": ("query", word), "msg": says} for word, says in wrong.items()])
        return area


class PointOut(Schema):
    """A feature on a map. Null is what is not known."""

    sae: str
    index: int
    label: str | None
    x: float
    y: float
    density: float | None
    maximum: float | None
    mean: float | None


class SelectedOf(Schema):
    sae: str
    n: int


class RaisedToken(Schema):
    token: int
    text: str
    n: Annotated[int, Field(description="Features that raise it most")]


class SelectedLabel(Schema):
    sae: str
    index: int
    label: str


class SelectionOut(Page[PointOut]):
    """What lies there, of all points and not those alone of this page, and a page of them."""

    n: int
    by_sae: list[SelectedOf]
    n_labelled: int
    labels: Annotated[list[SelectedLabel], Field(description="The first of them")]
    tokens: Annotated[list[RaisedToken], Field(description="That most of them raise most")]


class PlacedOut(Schema):
    sae: str
    index: int
    label: str | None
    x: float
    y: float


class NearOut(PlacedOut):
    cosine: Annotated[float, Field(description="Of both decoder directions")]


class MapFeatureOut(PlacedOut):
    """Where a feature lies on a map, and what is near by direction."""

    clusters: Annotated[list[int | None], Field(description="By grain, its number; null: in none")]
    neighbours: Annotated[list[NearOut], Field(description="The nearest first")]
    parent: Annotated[PlacedOut | None, Field(description="The nearest of the next smaller SAE")]
    children: Annotated[list[PlacedOut], Field(description="Of the next bigger SAE, whose parent it is")]
    page: Annotated[str, Field(description="Where a person finds the feature")]


@of_saes.get("/{slug:slug}/maps", response=Page[MapRow], summary="Maps that an SAE is on, newest first", **reading)
def list_maps(request: CallerRequest, slug: Slug, wanted: Query[Place]) -> Any:
    found, older = map_queries.listed(sae_to_see(slug), wanted.below, wanted.limit)
    return {"items": found, "next": cursor(older)}


@of_saes.post("/{slug:slug}/maps", response={202: JobDetail}, summary="Make a map", **changing)
def make_map(request: CallerRequest, response: HttpResponse, slug: Slug, sent: MapIn) -> Any:
    """Starts a job, whose result is the id of the map; one that makes just this is found."""
    sae = sae_to_see(slug)
    asked = sent.dict(exclude={"together"})
    job = map_actions.make([sae, *_together(sae, sent.together)], asked, by=request.auth.signed_in)
    return accepted(response, job)


@router.get("/{row:map_id}", response=MapDetail, summary="One map", **reading)
def get_map(request: CallerRequest, map_id: MapId) -> Any:
    return map_to_see(map_id)


@router.delete("/{row:map_id}", response={204: None}, summary="Remove a map", **changing)
def remove_map(request: CallerRequest, map_id: MapId) -> Any:
    """One’s own, or as an administrator any."""
    caller = request.auth.signed_in
    map_actions.remove(map_to_change(caller, map_id), by=caller, address=address_of(request))
    return Status(204, None)


@router.get("/{row:map_id}/selection", response=SelectionOut, summary="What lies in a part of a map", **reading)
def get_map_selection(request: CallerRequest, map_id: MapId, wanted: Query[SelectionWanted]) -> Any:
    """Its features from the top of the map to its bottom."""
    found = map_to_see(map_id)
    numbers = map_points.chosen(found, wanted.area(found))
    rest = numbers if wanted.after is None else numbers[numbers > int(wanted.after)]
    shown = rest[: wanted.limit]
    return {
        **_summary(found, map_points.summary(found, numbers)),
        "items": map_points.records(found, shown),
        "next": cursor(int(shown[-1]) if len(rest) > len(shown) else None),
    }


@router.get(
    "/{row:map_id}/features/{slug:slug}/{row:index}",
    response=MapFeatureOut,
    summary="Where a feature lies, and what is near",
    **reading,
)
def get_map_feature(request: CallerRequest, map_id: MapId, slug: Slug, index: Index) -> Any:
    found = map_to_see(map_id)
    part = next((each for each in parts(found) if each.sae.slug == slug), None)
    place = map_points.number_of(found, part.number, index) if part else None
    if part is None or place is None:
        raise Http404(f"Feature {index} of {slug} is not on this map.")
    around = map_points.around(found, place)
    labels = dict(map_queries.texts_of(map_points.keys_of(found, around.points)))

    def placed(point: Point) -> dict[str, Any]:
        of = parts(found)[point.part].sae
        where = {"sae": of.slug, "index": point.index, "x": point.x, "y": point.y}
        return where | {"label": labels.get((of.pk, point.index))}

    return {
        **placed(around.point),
        "clusters": [None if each < 0 else each for each in around.clusters],
        "neighbours": [placed(each) | {"cosine": each.cosine} for each in around.near],
        "parent": placed(around.parent) if around.parent else None,
        "children": [placed(each) for each in around.children],
        "page": reverse("feature", args=[slug, index]),
    }


def _together(sae: Sae, slugs: list[str]) -> list[Sae]:
    """Each once; only what writes where the SAE does can be laid out with it."""
    others = {each.slug: each for each in library_queries.at_hookpoint_of(sae)}
    wanted = [sae_to_see(slug) for slug in dict.fromkeys(slugs) if slug != sae.slug]
    if wrong := [each.name for each in wanted if each.slug not in others]:
        says = f"{', '.join(wrong)} does not write where {sae.name} does."
        raise ValidationError([{"loc": ("body", "sent", "together"), "msg": says}])
    return wanted


def _summary(found: FeatureMap, summary: Summary) -> dict[str, Any]:
    slugs = {part.sae_id: part.sae.slug for part in parts(found)}
    texts = vocabulary.of(parts(found)[0].sae.lm).text([token.id for token in summary.tokens])
    return {
        "n": summary.n,
        "by_sae": [{"sae": part.sae.slug, "n": n} for part, n in summary.by_part],
        "n_labelled": summary.n_labelled,
        "labels": [{"sae": slugs[sae], "index": index, "label": text} for (sae, index), text in summary.labels],
        "tokens": [
            {"token": token.id, "text": text, "n": token.n} for token, text in zip(summary.tokens, texts, strict=True)
        ],
    }
