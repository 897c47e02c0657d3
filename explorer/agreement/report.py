"""All that is said of how far the annotators of a study agree."""

from collections.abc import Iterable
from dataclasses import dataclass

from explorer.agreement.alpha import Metric, alpha
from explorer.agreement.figures import Bootstrap, Figure
from explorer.agreement.icc import icc_1_1, icc_1_k, icc_2_1, icc_2_k
from explorer.agreement.kappa import cohen_kappa, fleiss_kappa, percent_agreement, two_fixed
from explorer.agreement.ratings import Ratings

TOTAL = "total"
ABOVE = "above the line"


@dataclass(frozen=True, slots=True, eq=False)
class Criterion:
    name: str
    ratings: Ratings  # NaN also where it does not apply
    metric: Metric


@dataclass(frozen=True, slots=True)
class Agreement:
    of: str  # a criterion's name, TOTAL or ABOVE
    measure: str
    figure: Figure


def report(
    criteria: Iterable[Criterion], totals: Ratings, line: float, bootstrap: Bootstrap | None = None
) -> tuple[Agreement, ...]:
    """In the order in which the rubric names them. ICC(2,·) where every annotator scored every item."""
    bootstrap = bootstrap or Bootstrap()
    found = [
        Agreement(each.name, f"alpha ({each.metric})", alpha(each.ratings, each.metric, bootstrap)) for each in criteria
    ]
    found.append(Agreement(TOTAL, f"alpha ({Metric.INTERVAL})", alpha(totals, Metric.INTERVAL, bootstrap)))
    correlations = {"ICC(1,1)": icc_1_1, "ICC(1,k)": icc_1_k}
    if totals.complete:
        correlations |= {"ICC(2,1)": icc_2_1, "ICC(2,k)": icc_2_k}
    found += [Agreement(TOTAL, name, of(totals, bootstrap)) for name, of in correlations.items()]
    above = totals.above(line)
    kappas = {"Cohen's kappa": cohen_kappa} if two_fixed(above) else {"Fleiss' kappa": fleiss_kappa}
    shares = {"percent agreement": percent_agreement} | kappas
    found += [Agreement(ABOVE, name, of(above, bootstrap)) for name, of in shares.items()]
    return tuple(found)
