"""A study with all that was shown and given in it, as one file holds it: the demo's is brought by one."""

from typing import Any

from django.db.models import Prefetch

from explorer.models import Adjudication, Score, Study, Subject

FORM = 1


def whole(study: Study) -> dict[str, Any]:
    """Scores that count, without who gave them but by name."""
    rubric = study.rubric
    scores = Score.objects.filter(current=True).select_related("annotator").order_by("pk")
    subjects = study.subjects.select_related("pair").order_by("number").prefetch_related(
        "items", Prefetch("items__scores", scores),
        Prefetch("adjudications", Adjudication.objects.filter(current=True)),
    )  # fmt: skip
    return {
        "form": FORM,
        "name": study.name,
        "sae": study.sae.fingerprint,
        "rubric": {
            "slug": rubric.slug, "version": rubric.version, "name": rubric.name, "criteria": rubric.criteria,
            "line": rubric.line, "guidelines": rubric.guidelines,
        },
        **{name: getattr(study, name) for name in PLAIN},
        "subjects": [_subject(each) for each in subjects],
    }  # fmt: skip


PLAIN = ("staged", "per_item", "intervals", "sample", "controls", "guidelines", "seed", "about")


def _subject(found: Subject) -> dict[str, Any]:
    return {
        "number": found.number,
        "kind": found.kind,
        "index": found.index,
        "pair": found.pair.number if found.pair else None,
        "about": found.about,
        "density": found.density,
        "evidence": found.evidence,
        "items": [
            {"interval": item.interval, "known": item.known, "scores": [_score(each) for each in item.scores.all()]}
            for item in found.items.all()
        ],
        "adjudications": [{"meaning": each.meaning, "note": each.note} for each in found.adjudications.all()],
    }


def _score(found: Score) -> dict[str, Any]:
    return {
        "annotator": found.annotator.name,
        "is_model": found.annotator.is_model,
        "points": found.points,
        "hypothesis": found.hypothesis,
        "note": found.note,
        "flagged": found.flagged,
        "seconds": found.seconds,
    }
