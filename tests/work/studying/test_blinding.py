"""What a page shows but for the texts themselves must not tell a control from a feature: how many tokens are lit, how
far their strengths spread, over what range. Of the demo's own lm and SAE, over some of its text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from explorer.models import Job, Sae, Subject
from explorer.models.studies import SubjectKind
from explorer.studies.evidence import Evidence
from explorer.work.demo import BUNDLE
from tests.work.running import found, work_off
from tests.work.test_study import prepared

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
PAIRS, FEATURES, CONTEXTS = 60, 180, 256
CHANCE = 0.5
SURE = 2.6  # standard errors of the area under the curve: what chance alone exceeds once in two hundred times


def shown(subject: Subject) -> list[float]:
    """Without the texts: how many tokens are lit in one, how far their strengths spread, over what range."""
    evidence = Evidence.of(subject.evidence)
    lit = [[value for _, value in example.acts] for interval in evidence.intervals for example in interval]
    figures = np.array([(len(acts), float(np.std(acts)), max(acts) - min(acts)) for acts in lit if acts])
    means: list[float] = figures.mean(axis=0).tolist()
    return means


def told_apart(features: Sequence[Subject], controls: Sequence[Subject]) -> float:
    """The area under the curve of a classifier that is held against pairs it has not seen; 0.5 is chance."""
    rows = np.array([shown(each) for each in (*features, *controls)])
    kinds: NDArray[np.int64] = np.repeat([1, 0], len(features))
    pairs = np.tile(np.arange(len(features)), 2)
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    guesses = cross_val_predict(classifier, rows, kinds, groups=pairs, cv=GroupKFold(5), method="predict_proba")
    return float(roc_auc_score(kinds, guesses[:, 1]))


def collected(lm: str, name: str) -> Sae:
    places = {"lm": str(BUNDLE / "lms" / lm), "corpus": str(BUNDLE / "corpus"), "sae": str(BUNDLE / "saes" / name)}
    added = found("explore", {**places, "name": name, "fit": "keep", "contexts": CONTEXTS})
    work_off(Job.objects.get(pk=added["collect"]))
    return Sae.objects.get(slug=added["sae"])


@pytest.mark.parametrize("kind", [SubjectKind.NEURON, SubjectKind.DIRECTION, SubjectKind.UNTRAINED])
def test_controls_are_told_no_better_than_by_chance(transactional_db: None, kind: SubjectKind) -> None:
    of_study: dict[str, Any] = {}
    if kind == SubjectKind.UNTRAINED:
        of_study = {"untrained": collected("one-layer-untrained", "one-layer-untrained-relu-4096")}
    sae = collected("one-layer", "one-layer-relu-2048")
    study = prepared(sae, sample={"how": "uniform", "n": FEATURES}, controls={kind: PAIRS}, intervals=[0, 1, 2, 3, 4],
                     **of_study)  # fmt: skip
    controls = list(study.subjects.filter(kind=kind).select_related("pair").order_by("pk"))
    features = [each.pair for each in controls if each.pair]
    assert len(features) == len(controls) >= 0.8 * PAIRS
    error = ((2 * len(controls) + 1) / (12 * len(controls) ** 2)) ** 0.5  # of the area, where nothing is to be told
    assert told_apart(features, controls) <= CHANCE + SURE * error
