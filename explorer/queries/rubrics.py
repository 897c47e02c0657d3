"""Rubrics, and who uses them."""

from django.db.models import Count, QuerySet

from explorer.models import Rubric, Study


def rubrics() -> QuerySet[Rubric]:
    """By name, newer versions first, each with how many studies use it."""
    return _by_name().annotate(n_studies=Count("studies")).select_related("created_by")


def choices() -> QuerySet[Rubric]:
    return _by_name()


def usual() -> Rubric | None:
    """The newest version of that which was there first."""
    first = Rubric.objects.order_by("pk").first()
    return versions(first.slug).first() if first else None


def rubric(slug: str, version: int) -> Rubric | None:
    return rubrics().filter(slug=slug, version=version).first()


def versions(slug: str) -> QuerySet[Rubric]:
    """The newest first."""
    return Rubric.objects.filter(slug=slug).order_by("-version")


def studies_by(found: Rubric) -> list[Study]:
    return list(Study.objects.filter(rubric=found, going=False).order_by("-pk"))


def _by_name() -> QuerySet[Rubric]:
    return Rubric.objects.order_by("name", "slug", "-version")
