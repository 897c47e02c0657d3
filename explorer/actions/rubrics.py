"""Rubrics, and versions of them. What a study has used never changes."""

import json
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.text import slugify

from explorer.models import Rubric
from explorer.plain import one_line, plain
from explorer.studies import rubrics

PUBLISHED = Path(rubrics.__file__).with_name("published.json")


class NotPossible(Exception):
    """Why, for the person who asked."""


def published() -> Rubric:
    """The one of the literature, which is there from the start."""
    found: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    key = {"slug": found.pop("slug"), "version": found.pop("version")}
    row, _ = Rubric.objects.get_or_create(**key, defaults=found)
    return row


def make(name: str, criteria: Any, line: int, guidelines: str, *, by: User) -> Rubric:
    """Raises WrongRubric."""
    named = one_line(name) or "Unnamed"
    checked = rubrics.checked(criteria, line)
    slug = slugify(named)[:80] or "rubric"
    if Rubric.objects.filter(slug=slug).exists():
        raise NotPossible(f"There is a rubric {named} already. Make a version of that one, or choose another name.")
    return _create(slug, 1, named, checked, line, guidelines, by)


def revise(found: Rubric, criteria: Any, line: int, guidelines: str, *, by: User) -> Rubric:
    """The next version of it."""
    checked = rubrics.checked(criteria, line)
    newest = Rubric.objects.filter(slug=found.slug).aggregate(newest=Max("version"))["newest"]
    return _create(found.slug, newest + 1, found.name, checked, line, guidelines, by)


def change(found: Rubric, criteria: Any, line: int, guidelines: str) -> None:
    """As long as nobody has scored by it."""
    checked = rubrics.checked(criteria, line)
    with transaction.atomic():
        Rubric.objects.select_for_update().get(pk=found.pk)
        if found.studies.exists():
            raise NotPossible(
                f"{found} is used by a study, and scores stand for what it said then. Make a new version."
            )
        rows = [each.row() for each in checked]
        Rubric.objects.filter(pk=found.pk).update(criteria=rows, line=line, guidelines=plain(guidelines))


def _create(
    slug: str, version: int, name: str, criteria: tuple[rubrics.Criterion, ...], line: int, guidelines: str, by: User
) -> Rubric:
    try:
        with transaction.atomic():
            return Rubric.objects.create(
                slug=slug, version=version, name=name, criteria=[each.row() for each in criteria], line=line,
                guidelines=plain(guidelines), created_by=by,
            )  # fmt: skip
    except IntegrityError:
        raise NotPossible("Somebody has made just this version this very moment. Look at it first.") from None
