"""Taking things out of the library, by people."""

from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable

from explorer.actions import collections
from explorer.actions.audit import Action, note
from explorer.models import Sae, Study


class InUse(Exception):
    """It is read just now, or scored; the message is for the person who asked."""


def remove_sae(sae: Sae, *, by: User, address: str) -> None:
    """With its features, collections and labels; lists lose them."""
    details = {"slug": sae.slug, "weights": sae.fingerprint}
    try:
        with transaction.atomic():
            _scored_by_nobody(sae)
            note(Action.SAE_REMOVED, sae.name, by=by, address=address, details=details)
            collections.remove_sae(sae.pk)
    except OperationalError as why:
        if not isinstance(why.__cause__, LockNotAvailable):
            raise
        raise InUse(f"{sae.name} is in use just now, and is still there. Try again in a moment.") from why


def _scored_by_nobody(sae: Sae) -> None:
    """What people have given is not taken away by the way."""
    if names := list(Study.objects.filter(sae=sae).order_by("pk").values_list("name", flat=True)):
        raise InUse(f"{sae.name} is scored in {', '.join(names)}. Take the scores home and remove that first.")
