"""Taking things out of the library, by people."""

from django.contrib.auth.models import User
from django.db import transaction

from explorer.actions import collections
from explorer.actions.audit import Action, note
from explorer.models import Sae


@transaction.atomic
def remove_sae(sae: Sae, *, by: User, address: str) -> None:
    """With its features, collections and labels."""
    note(Action.SAE_REMOVED, sae.name, by=by, address=address, details={"slug": sae.slug, "weights": sae.fingerprint})
    collections.remove_sae(sae.pk)
