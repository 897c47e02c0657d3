"""Files of scores that somebody brings: whatever is in one, it is read or refused."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer import score_files
from explorer.brought import Unreadable
from explorer.models.studies import SubjectKind
from tests.explored import Explored, explored, read
from tests.studied import FULL, study_of

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db
HEAD = f"item,annotator,is_model,{','.join(f'points_{key}' for key in FULL)},hypothesis"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
)
NAMES = [
    "item", "sae", "index", "interval", "annotator", "is_model", "points", "hypothesis", "note", "flagged", "seconds",
    "current", "rubric", "rubric_version", "points_gap",
]  # fmt: skip


def test_nothing_breaks_it(explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE])
    good = {"item": f"k{study.pk}-0-4", "annotator": "a", "points": FULL, "hypothesis": "x"}
    assert len(score_files.read(json.dumps(good).encode(), "x", study)) == 1

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
        st.dictionaries(st.sampled_from([*FULL, "x"]), VALUES),
        st.binary(max_size=100),
    )
    def bring(changed: dict[str, Any], points: dict[str, Any], content: bytes) -> None:
        of_json = json.dumps(good | {"points": points} | changed).encode()
        for each, name in ((of_json, "x.jsonl"), (content, "x.csv"), (f"{HEAD}\n".encode() + content, "x.csv")):
            with suppress(Unreadable):
                score_files.read(each, name, study)

    bring()
