"""What features are called."""

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction

from explorer.actions import editions
from explorer.actions.audit import Action, note
from explorer.models import Label
from explorer.models.library import Sae

LONGEST = 200  # characters


def give(sae: Sae, index: int, text: str, *, by: User | None) -> Label | None:
    """A new label, or with an empty text none from now on. Earlier ones are kept; the same again is no news."""
    with transaction.atomic():
        _alone(sae)
        current = Label.objects.filter(sae=sae, index=index, current=True)
        newest = current.first()
        if (newest.text if newest else "") == text:
            return newest
        current.update(current=False)
        editions.of(sae.pk)
        return Label.objects.create(sae=sae, index=index, text=text, author=by)


def give_many(sae: Sae, texts: Mapping[int, str], *, by: User, address: str) -> int:
    """All of a file's, or none of them. How many were news."""
    with transaction.atomic():
        _alone(sae)
        known = _current(sae)
        news = {index: text for index, text in texts.items() if known.get(index, "") != text}
        Label.objects.filter(sae=sae, index__in=list(news), current=True).update(current=False)
        Label.objects.bulk_create(
            [Label(sae=sae, index=index, text=text, author=by) for index, text in news.items()], batch_size=1000
        )
        editions.of(sae.pk)
        details = {"slug": sae.slug, "labels": len(texts), "news": len(news)}
        note(Action.LABELS_IMPORTED, sae.name, by=by, address=address, details=details)
    return len(news)


def give_first(sae: Sae, texts: Mapping[int, str]) -> None:
    """To features that nobody has ever named, nor taken a name from."""
    with transaction.atomic():
        _alone(sae)
        known = set(Label.objects.filter(sae=sae, index__in=list(texts)).values_list("index", flat=True))
        Label.objects.bulk_create(
            [Label(sae=sae, index=index, text=text) for index, text in texts.items() if index not in known]
        )
        editions.of(sae.pk)


def _alone(sae: Sae) -> None:
    """Two at once are one after the other."""
    Sae.objects.select_for_update(no_key=True).get(pk=sae.pk)


def _current(sae: Sae) -> dict[int, str]:
    return dict(Label.objects.filter(sae=sae, current=True).values_list("index", "text"))
