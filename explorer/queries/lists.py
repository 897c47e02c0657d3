"""Lists of features, their entries with what is known of these, and which lists a feature is in."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet

from explorer.models import Activity, Collection, FeatureList, Label, ListEntry, Sae
from explorer.queries.filtering import lists_to_see

BOOKMARKS = "Bookmarks"
PAGE = 50
BATCH = 1_000  # entries that a download has at hand


@dataclass(frozen=True, slots=True)
class Lists:
    own: list[FeatureList]  # bookmarks first
    shared: list[FeatureList]  # by others
    more: int | None  # the id of a shared one to go on below


@dataclass(frozen=True, slots=True)
class Entry:
    row: ListEntry
    label: str
    activity: Activity | None  # in the newest collection; None: read over no text yet
    tokens: int

    @property
    def density(self) -> float | None:
        return self.activity.n_fired / self.tokens if self.activity else None


@dataclass(frozen=True, slots=True)
class EntryPage:
    entries: list[Entry]
    after: int | None  # the id to go on after


@dataclass(frozen=True, slots=True)
class Kept:
    """That a feature is in a list, or, without an entry, that it is not."""

    list: int | None  # None: bookmarks that were never used
    name: str
    own: bool
    entry: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Keeping:
    current: Kept  # where the next feature goes
    others: list[Kept]


def lists(user: User | AnonymousUser, below: int | None = None, size: int = PAGE) -> Lists:
    own = list(_counted(FeatureList.objects.filter(owner=user))) if isinstance(user, User) else []
    own.sort(key=lambda each: (not each.bookmarks, each.name.casefold(), each.pk))
    q = FeatureList.objects.filter(shared=True).select_related("owner").order_by("-pk")
    q = q.exclude(owner=user) if isinstance(user, User) else q
    found = list(_counted(q if below is None else q.filter(pk__lt=below))[: size + 1])
    return Lists(own, found[:size], more=found[size - 1].pk if len(found) > size else None)


def own(user: User) -> QuerySet[FeatureList]:
    return FeatureList.objects.filter(owner=user).order_by("-bookmarks", "name", "pk")


def feature_list(list_id: int) -> FeatureList | None:
    return _counted(FeatureList.objects.filter(pk=list_id).select_related("owner")).first()


def to_see(
    user: User | AnonymousUser, below: int | None = None, size: int = PAGE
) -> tuple[list[FeatureList], int | None]:
    """One's own and those that are shared, the newest first, and the id to go on below."""
    q = _counted(lists_to_see(user).select_related("owner")).order_by("-pk")
    found = list((q if below is None else q.filter(pk__lt=below))[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def entry(found: FeatureList, entry_id: int) -> ListEntry | None:
    return found.entries.filter(pk=entry_id).first()


def by_sae(found: FeatureList) -> QuerySet[Sae, dict[str, Any]]:
    """How many of its features each SAE has."""
    q = found.entries.values("sae__slug", "sae__name").annotate(n=Count("pk"))
    return q.order_by("sae__name", "sae__slug")  # type: ignore[return-value]


def entries(found: FeatureList, after: int | None = None, size: int = PAGE) -> EntryPage:
    """As they were added."""
    q = found.entries.select_related("sae", "added_by").order_by("pk")
    rows = list((q if after is None else q.filter(pk__gt=after))[: size + 1])
    shown = rows[:size]
    return EntryPage(_known(shown), after=shown[-1].pk if len(rows) > size else None)


def known(row: ListEntry) -> Entry:
    (found,) = _known([row])
    return found


def batches(found: FeatureList, size: int = BATCH) -> Iterator[list[Entry]]:
    """All entries; nothing is kept open in between."""
    after: int | None = None
    while True:
        page = entries(found, after, size)
        if page.entries:
            yield page.entries
        if page.after is None:
            return
        after = page.after


# One plain statement: every feature's page asks it, also when it is then answered that nothing has changed.
KEEPING = """
SELECT l.id, l.name, l.owner_id IS NOT DISTINCT FROM %(user)s, e.id, e.note
FROM explorer_listentry e JOIN explorer_featurelist l ON l.id = e.list_id
WHERE e.sae_id = (SELECT id FROM explorer_sae WHERE slug = %(slug)s) AND e.index = %(index)s
  AND (l.owner_id = %(user)s OR l.shared)
UNION ALL
(SELECT id, name, true, NULL, '' FROM explorer_featurelist
 WHERE owner_id = %(user)s AND (id = %(current)s OR bookmarks) ORDER BY bookmarks LIMIT 1)
ORDER BY 4
"""


def keeping(user: User, slug: str, index: int, current: int | None) -> Keeping:
    """The lists that somebody may see a feature in, `current` being the one that they used last: bookmarks where that
    is gone."""
    with connection.cursor() as cursor:
        cursor.execute(KEEPING, {"user": user.pk, "slug": slug, "index": index, "current": current})
        rows = [Kept(*row) for row in cursor.fetchall()]
    found = [each for each in rows if each.entry is not None]
    here = next((each for each in rows if each.entry is None), Kept(None, BOOKMARKS, True, None, ""))
    here = next((each for each in found if each.list == here.list), here)
    return Keeping(here, [each for each in found if each is not here])


def _counted(q: QuerySet[FeatureList]) -> QuerySet[FeatureList]:
    return q.annotate(n=Count("entries"), newest=Max("entries__created_at"))


def _known(rows: list[ListEntry]) -> list[Entry]:
    """Labels and figures, in as many queries however many SAEs there are."""
    of_saes: dict[int, list[int]] = {}
    for row in rows:
        of_saes.setdefault(row.sae_id, []).append(row.index)
    newest: dict[int, Collection] = {}
    for each in Collection.objects.filter(sae__in=list(of_saes)).order_by("pk"):
        newest[each.sae_id] = each
    labels: dict[tuple[int, int], str] = {}
    active: dict[tuple[int, int], Activity] = {}
    if rows:
        named = [Q(sae=sae, index__in=indexes) for sae, indexes in of_saes.items()]
        q = Label.objects.filter(_any(named), current=True).values_list("sae", "index", "text")
        labels = {(sae, index): text for sae, index, text in q}
    if newest:
        wanted = [Q(collection=each, index__in=of_saes[sae]) for sae, each in newest.items()]
        of_collection = {each.pk: sae for sae, each in newest.items()}
        for found in Activity.objects.filter(_any(wanted)):
            active[of_collection[found.collection_id], found.index] = found
    return [
        Entry(row, labels.get(key, ""), active.get(key), newest[row.sae_id].tokens if row.sae_id in newest else 0)
        for row in rows
        for key in [(row.sae_id, row.index)]
    ]


def _any(conditions: list[Q]) -> Q:
    return reduce(or_, conditions)
