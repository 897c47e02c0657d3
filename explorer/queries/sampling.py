"""Which features a study is about: drawn from those of its SAE that fire."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from random import Random
from typing import Any

from explorer.models import Activity, Collection, Sae, Study
from explorer.queries import browsing, library
from explorer.queries.browsing import Asked
from explorer.queries.filtering import Filters, Fires, Range, Sort
from explorer.studies.sampling import How, Sample, drawn, stratified


class NothingToDraw(ValueError):
    """Why, for whoever asked."""


def sampled(study: Study) -> list[int]:
    """Their indexes. The same study over the same text has the same ones."""
    return draw(study.sae, Sample.of(study.sample), study.seed)


def draw(sae: Sae, sample: Sample, seed: int) -> list[int]:
    collection = library.collections_of(sae).first()
    if collection is None:
        raise NothingToDraw(f"{sae.name} was read over no text yet, so that nothing is known to fire.")
    found = _drawn(sae, collection, sample, Random(seed))
    if not found:
        raise NothingToDraw(f"{_NONE[sample.how].format(sae.name)} What never fires cannot be scored.")
    return found


_NONE = {
    How.UNIFORM: "No feature of {} fires.",
    How.DENSITY: "No feature of {} fires.",
    How.LIST: "No feature of {} that fires is in this list.",
    How.FILTER: "No feature of {} that fires fits this filter.",
}


def _drawn(sae: Sae, collection: Collection, sample: Sample, random: Random) -> list[int]:
    if sample.how is How.DENSITY:
        firing = Activity.objects.filter(collection=collection, n_fired__gt=0).values_list("index", "n_fired")
        return stratified({index: n / collection.tokens for index, n in firing}, sample.n, random)
    filters = _filters(sample)
    if filters.fires is Fires.NEVER:
        return []
    asked = Asked(sae, collection, replace(filters, fires=filters.fires or Fires.YES).beside(collection))
    if sample.in_order:
        return browsing.indexes(asked, most=sample.n)
    return drawn(browsing.indexes(asked), sample.n, random)


def _filters(sample: Sample) -> Filters:
    if sample.how is How.FILTER:
        return from_row(sample.filters or {})
    return Filters(list=sample.list)


def as_row(filters: Filters) -> dict[str, Any]:
    """As JSON keeps them."""
    return asdict(filters) | {"ranges": [list(each) for each in filters.ranges]}


def from_row(row: Mapping[str, Any]) -> Filters:
    words, tokens, fires = row.get("words"), row.get("tokens"), row.get("fires")
    return Filters(
        sort=Sort(row.get("sort", Sort.INDEX)),
        descending=bool(row.get("descending", False)),
        ranges=tuple(Range(*each) for each in row.get("ranges", ())),
        fires=Fires(fires) if fires else None,
        labelled=row.get("labelled"),
        words=None if words is None else tuple(words),
        tokens=None if tokens is None else tuple(tokens),
        list=row.get("list"),
    )
