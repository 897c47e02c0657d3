"""A new edition of SAEs whose pages show something else from now on, by which versions of these (queries/versions.py)
are told apart. It goes with the write that makes it so, in one transaction."""

from django.db.models import F

from explorer.models import Sae


def of(sae_id: int) -> None:
    Sae.objects.filter(pk=sae_id).update(edition=F("edition") + 1)


def of_lm(lm_id: int) -> None:
    Sae.objects.filter(lm=lm_id).update(edition=F("edition") + 1)


def of_all() -> None:
    """What stands on pages of every SAE: the names of lists."""
    Sae.objects.update(edition=F("edition") + 1)
