"""Texts that people have read by an lm and an SAE."""

from django.conf import settings
from django.contrib.auth.models import User

from explorer.actions import jobs
from explorer.actions.limits import Limit, take
from explorer.models import Job, Sae
from explorer.plain import plain


def read(sae: Sae, text: str, *, by: User | None, who: str, feature: int | None = None) -> Job:
    """`who` is what the limit counts by: a person, or where nobody has signed in an address. `feature` is one that is
    asked about by itself."""
    take(Limit("text", capacity=settings.TEXT_RATE, per_second=settings.TEXT_RATE / 60), who)
    about = {} if feature is None else {"feature": feature}
    return jobs.start("read_text", {"sae": sae.pk, "text": plain(text), **about}, by=by)
