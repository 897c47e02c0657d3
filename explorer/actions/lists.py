"""Lists of features, and who keeps what in them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from explorer.actions import editions
from explorer.actions.audit import Action, note
from explorer.models import FeatureList, ListEntry, Sae
from explorer.plain import one_line, plain
from explorer.queries.lists import BOOKMARKS

MOST_LISTS = 500  # of one person
MOST_ENTRIES = 10_000  # of one list
LONGEST_NAME, LONGEST_NOTES, LONGEST_NOTE = 200, 10_000, 1000  # characters


class NotPossible(Exception):
    """Why, for the person who asked."""


def bookmarks(user: User) -> FeatureList:
    """Each person's first list, which is there once it is used; nobody else's business until it is shared."""
    with transaction.atomic():
        found, new = FeatureList.objects.get_or_create(
            owner=user, bookmarks=True, defaults={"name": BOOKMARKS, "shared": False}
        )
        if new:
            editions.of_all()
    return found


def of_nobody(name: str, notes: str) -> FeatureList:
    """A list that everybody sees and nobody changes."""
    with transaction.atomic():
        found, new = FeatureList.objects.get_or_create(owner=None, name=name, defaults={"notes": notes})
        if new:
            editions.of_all()
    return found


def make(name: str, notes: str = "", *, shared: bool, by: User) -> FeatureList:
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=by.pk)  # two at once are counted one after the other
        if FeatureList.objects.filter(owner=by).count() >= MOST_LISTS:
            raise NotPossible(f"You have {MOST_LISTS} lists, which are the most. Remove one first.")
        editions.of_all()
        return FeatureList.objects.create(name=named(name), notes=plain(notes), shared=shared, owner=by)


def make_of(name: str, notes: str, keys: Sequence[tuple[int, int]], *, by: User) -> FeatureList:
    """One that holds these features, or none at all."""
    with _saes_staying():
        made = make(name, notes, shared=True, by=by)
        keep_many(made, keys, by=by)
    return made


def change(found: FeatureList, name: str, notes: str, *, shared: bool) -> None:
    """Bookmarks keep their name."""
    found.name = found.name if found.bookmarks else named(name)
    found.notes, found.shared = plain(notes), shared
    with transaction.atomic():
        FeatureList.objects.filter(pk=found.pk).update(name=found.name, notes=found.notes, shared=shared)
        editions.of_all()


def remove(found: FeatureList, *, by: User, address: str) -> None:
    """With its entries. That somebody else's went is noted."""
    with transaction.atomic():
        if found.owner_id != by.pk:
            details = {"owner": found.owner.username if found.owner else "", "entries": found.entries.count()}
            note(Action.LIST_REMOVED, found.name, by=by, address=address, details=details)
        FeatureList.objects.filter(pk=found.pk).delete()
        editions.of_all()


def keep(found: FeatureList, sae: Sae, index: int, *, by: User | None, text: str | None = None) -> ListEntry:
    """Once, however often; with a note, or as it was noted before."""
    try:
        with transaction.atomic():
            if not FeatureList.objects.select_for_update(no_key=True).filter(pk=found.pk).exists():
                raise NotPossible(f"The list {found.name} is no longer there.")
            entry = found.entries.filter(sae=sae, index=index).first()
            if entry is None:
                if found.entries.count() >= MOST_ENTRIES:
                    raise NotPossible(f"{found.name} holds {MOST_ENTRIES:,} features, which are the most.")
                editions.of(sae.pk)
                entry = found.entries.create(sae=sae, index=index, note=one_line(text or ""), added_by=by)
            elif text is not None:
                annotate(entry, text)
    except IntegrityError:  # told when the transaction ends
        raise NotPossible(f"{sae.name} has just been removed.") from None
    return entry


def keep_many(found: FeatureList, keys: Sequence[tuple[int, int]], *, by: User) -> int:
    """Features, each the id of an SAE and an index, all of them or none; how many were not in it before."""
    with _saes_staying():
        if not FeatureList.objects.select_for_update(no_key=True).filter(pk=found.pk).exists():
            raise NotPossible(f"The list {found.name} is no longer there.")
        there = set(found.entries.values_list("sae_id", "index"))
        new = [key for key in dict.fromkeys(keys) if key not in there]
        if len(there) + len(new) > MOST_ENTRIES:
            raise NotPossible(f"{found.name} would hold more than {MOST_ENTRIES:,} features, which are the most.")
        ListEntry.objects.bulk_create(ListEntry(list=found, sae_id=sae, index=index, added_by=by) for sae, index in new)
        for sae in {sae for sae, _ in new}:
            editions.of(sae)
    return len(new)


@contextmanager
def _saes_staying() -> Iterator[None]:
    """A transaction. That an SAE went meanwhile is told when the outermost ends."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise NotPossible("An SAE of these features has just been removed.") from None


def annotate(entry: ListEntry, text: str) -> None:
    entry.note = one_line(text)
    with transaction.atomic():
        ListEntry.objects.filter(pk=entry.pk).update(note=entry.note)
        editions.of(entry.sae_id)


def drop(found: FeatureList, sae: Sae, index: int) -> None:
    with transaction.atomic():
        found.entries.filter(sae=sae, index=index).delete()
        editions.of(sae.pk)


def named(text: str) -> str:
    return one_line(text) or "Unnamed"
