"""What features are called."""

from django.contrib.auth.models import User
from django.db import transaction

from explorer.models import Label
from explorer.models.library import Sae


def give(sae: Sae, index: int, text: str, *, by: User | None) -> Label | None:
    """A new label, or with an empty text none from now on. Earlier ones are kept; the same again is no news."""
    with transaction.atomic():
        Sae.objects.select_for_update(no_key=True).get(pk=sae.pk)  # two at once are one after the other
        current = Label.objects.filter(sae=sae, index=index, current=True)
        newest = current.first()
        if (newest.text if newest else "") == text:
            return newest
        current.update(current=False)
        return Label.objects.create(sae=sae, index=index, text=text, author=by)
