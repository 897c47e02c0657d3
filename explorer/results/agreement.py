"""The report on agreement as data."""

from dataclasses import asdict
from itertools import chain, repeat
from typing import Any

from explorer.agreement.report import Agreement
from explorer.models import Study
from explorer.results.study import Results
from explorer.studies.rubrics import Criterion


def as_json(study: Study, found: Results) -> dict[str, Any]:
    return {
        "study": {"id": study.pk, "name": study.name, "state": study.state, "edition": study.edition},
        "rubric": {"slug": study.rubric.slug, "version": study.rubric.version, "line": found.line},
        "items": {"all": len(found.items), "scored": found.n_scored},
        "scores": {"all": found.n_scores, "extra": found.n_extra},
        "annotators": len(found.annotators),
        **figures(found),
    }


def figures(found: Results) -> dict[str, Any]:
    """`features`: as if there were no controls; null where there are none."""
    return {
        "agreement": [_figure(*each) for each in _by_criterion(found.agreement, found.criteria)],
        "agreement_of_features": [_figure(*each) for each in _by_criterion(found.of_features, found.criteria)] or None,
    }


def _by_criterion(rows: tuple[Agreement, ...], criteria: tuple[Criterion, ...]) -> "zip[tuple[Agreement, str | None]]":
    """The report begins with one of each criterion."""
    return zip(rows, chain((each.key for each in criteria), repeat(None)), strict=False)


def _figure(row: Agreement, criterion: str | None) -> dict[str, Any]:
    return {"of": row.of, "criterion": criterion, "measure": row.measure, **asdict(row.figure)}
