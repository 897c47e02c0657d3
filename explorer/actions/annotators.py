from django.contrib.auth.models import User

from explorer.models import Annotator
from explorer.plain import one_line


def annotator_of(user: User) -> Annotator:
    found, _ = Annotator.objects.get_or_create(user=user, defaults={"name": user.username})
    return found


def model_of(name: str) -> Annotator:
    """A model by its name, which scores as people do."""
    found, _ = Annotator.objects.get_or_create(name=one_line(name)[:200] or "Unnamed", is_model=True)
    return found
