"""All results of a study, made once for each of its editions and kept at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from explorer.agreement.alpha import Metric
from explorer.agreement.figures import Bootstrap
from explorer.agreement.ratings import Ratings
from explorer.agreement.report import Agreement, report
from explorer.agreement.report import Criterion as Rated
from explorer.mapped import numpy
from explorer.models import Study
from explorer.models.studies import Meaning, SubjectKind
from explorer.queries import results as queries
from explorer.results.annotators import AnnotatorResult, annotators
from explorer.results.items import ItemResult, SubjectResult, items, subjects
from explorer.results.kinds import KindResult, kinds
from explorer.studies import rubrics
from explorer.studies.rubrics import Criterion, criteria_of

KEPT = 8  # studies


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Of the subjects on whose totals annotators agree, on one side of the line each time, what was judged of their
    hypotheses."""

    n_agreed: int
    n_alike: int  # all have said just the same of it
    judged: dict[str, int]  # by meaning

    @property
    def open(self) -> int:
        return self.n_agreed - self.n_alike - sum(self.judged.values())

    @property
    def different(self) -> int:
        return self.judged[Meaning.DIFFERENT]

    @property
    def partly(self) -> int:
        return self.judged[Meaning.PARTLY]


@dataclass(frozen=True, slots=True)
class Results:
    criteria: tuple[Criterion, ...]
    line: int
    most: int  # the highest total that there is
    items: tuple[ItemResult, ...]
    subjects: tuple[SubjectResult, ...]
    kinds: tuple[KindResult, ...]
    annotators: tuple[AnnotatorResult, ...]
    agreement: tuple[Agreement, ...]
    of_features: tuple[Agreement, ...]  # as if there were no controls; empty where there are none
    conflicts: Conflicts

    def item(self, key: str) -> ItemResult | None:
        return next((each for each in self.items if each.row.key == key), None)

    def annotator(self, pk: int) -> AnnotatorResult:
        return next(each for each in self.annotators if each.pk == pk)

    @property
    def n_scores(self) -> int:
        return sum(len(each.given) for each in self.items)

    @property
    def averaged(self) -> bool:
        """Some items have several scores."""
        return any(len(each.given) > 1 for each in self.items)

    @property
    def n_extra(self) -> int:
        return sum(each.extra for each in self.items)

    @property
    def n_scored(self) -> int:
        return sum(bool(each.given) for each in self.items)


def of(study: Study) -> Results:
    return _kept(study, study.edition)


@lru_cache(KEPT)
def _kept(study: Study, edition: int) -> Results:
    criteria, line = criteria_of(study.rubric.criteria), study.rubric.line
    most, mosts = rubrics.most(criteria), {each.key: each.most for each in criteria}
    found = items(queries.items(study.pk), queries.given(study.pk), line)
    about = subjects(found, queries.meanings(study.pk))
    features = [each for each in found if each.row.kind == SubjectKind.FEATURE]
    bootstrap = Bootstrap()
    return Results(
        criteria=criteria,
        line=line,
        most=most,
        items=found,
        subjects=about,
        kinds=kinds(found, mosts, most, line, bootstrap),
        annotators=annotators(found, queries.annotators(study.pk)),
        agreement=_agreement(found, criteria, line, bootstrap),
        of_features=_agreement(features, criteria, line, bootstrap) if 0 < len(features) < len(found) else (),
        conflicts=_conflicts(about),
    )


def _agreement(
    found: Sequence[ItemResult], criteria: Sequence[Criterion], line: int, bootstrap: Bootstrap
) -> tuple[Agreement, ...]:
    np = numpy()
    columns: dict[int, int] = {}
    for item in found:
        for each in item.given:
            columns.setdefault(each.annotator, len(columns))
    features = np.array([item.row.subject for item in found])
    totals = np.full((len(found), len(columns)), np.nan)
    points = {each.key: totals.copy() for each in criteria}
    for row, item in enumerate(found):
        for each in item.given:
            totals[row, columns[each.annotator]] = each.total
            for key, value in each.points.items():
                points[key][row, columns[each.annotator]] = np.nan if value is None else value
    rated = [Rated(each.title, Ratings(points[each.key], features), Metric(each.scale.value)) for each in criteria]
    return report(rated, Ratings(totals, features), line, bootstrap)


def _conflicts(about: Sequence[SubjectResult]) -> Conflicts:
    agreed = [each for each in about if each.several and not each.split]
    judged = {
        str(meaning): sum(each.to_judge and each.meaning == meaning for each in agreed) for meaning in Meaning.values
    }
    return Conflicts(len(agreed), sum(not each.to_judge for each in agreed), judged)
