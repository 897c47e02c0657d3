"""What features are called."""

from django.contrib.auth.models import User

from explorer.models import Label
from explorer.models.library import Sae


def give(sae: Sae, index: int, text: str, *, by: User) -> Label | None:
    """A new label, or with an empty text none from now on. Earlier ones are kept; the same again is no news."""
    newest = Label.objects.filter(sae=sae, index=index).order_by("-pk").first()
    if (newest.text if newest else "") == text:
        return newest
    return Label.objects.create(sae=sae, index=index, text=text, author=by)
