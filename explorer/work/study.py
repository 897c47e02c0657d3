"""Preparing a study: features are drawn, controls found and read, and all that annotators will see is copied.

Arguments: `study`, its id; `untrained`, the id of the SAE on a re-initialised lm that controls are latents of, or none;
`practice`, whether it begins with items whose answers are known.
"""

import secrets
from collections.abc import Sequence
from random import Random
from typing import Any

from explorer.models import Collection, Item, Sae, Study, Subject
from explorer.models.studies import SubjectKind
from explorer.queries import library
from explorer.queries.sampling import NothingToDraw, sampled
from explorer.studies.evidence import HALVES
from explorer.studies.practice import practice
from explorer.studies.rubrics import criteria_of
from explorer.work.attempt import Attempt, Refused, Removed
from explorer.work.opening import refusing
from explorer.work.studying.controls import Made, pairs, read_controls, shuffled_controls, untrained_controls
from explorer.work.studying.freezing import evidence
from explorer.work.studying.reading import latents

KEY_BYTES = 9


def run(attempt: Attempt) -> dict[str, Any]:
    study = Study.objects.select_related("sae", "rubric").filter(pk=attempt.arguments["study"]).first()
    if study is None:
        raise Removed("The study that this was to prepare has been removed.")
    if study.subjects.exists():  # by an attempt that did not come to its end
        return {"study": study.pk}
    with refusing():
        collection = library.collections_of(study.sae).first()
        if collection is None:
            raise Refused(f"{study.sae.name} was read over no text yet, so there is nothing to score.")
        made = _scored(study, _made(attempt, study, collection))
    if dropped := sum(not intervals for _, intervals in made):
        attempt.emit(f"{dropped} are left out, as they fire on too few texts in every interval that is scored.\n")
    attempt.report(done=0, total=0, unit="", message="Writing items")
    with attempt.transaction():
        if not Study.objects.select_for_update().filter(pk=study.pk).exists():
            raise Removed("The study that this was to prepare has been removed meanwhile.")
        _keep(study, collection, made)
        if attempt.arguments.get("practice"):
            _keep_practice(study, first=len(made))
    return {"study": study.pk}


def _made(attempt: Attempt, study: Study, collection: Collection) -> list[Made]:
    """Features first, in the order in which pairs count them."""
    random = Random(study.seed)
    attempt.report(done=0, total=0, unit="", message="Drawing features")
    try:
        features = latents(collection, sampled(study))
    except NothingToDraw as why:
        raise Refused(str(why)) from None
    made = [
        Made(
            SubjectKind.FEATURE,
            each.n_fired,
            evidence(collection.corpus, each.seen, random),
            sae=study.sae_id,
            index=each.index,
        )
        for each in attempt.steps(features, total=len(features), unit="features")
    ]
    wanted = {SubjectKind(kind): n for kind, n in study.controls.items()}
    untrained = wanted.pop(SubjectKind.UNTRAINED, 0)  # these find their pairs by themselves
    paired = pairs(features, wanted, random)
    other = Sae.objects.filter(pk=attempt.arguments.get("untrained") or 0).first()
    return [
        *made,
        *read_controls(attempt, study.sae, collection, features, paired, random),
        *untrained_controls(other, features, untrained, random, collection.corpus),
        *shuffled_controls(features, made, paired.get(SubjectKind.SHUFFLED, []), random),
    ]


def _scored(study: Study, made: Sequence[Made]) -> list[tuple[Made, list[int]]]:
    """Each with the intervals in which there are texts for both halves."""
    return [
        (each, [number for number in study.intervals if len(each.evidence.intervals[number]) >= HALVES])
        for each in made
    ]


def _keep(study: Study, collection: Collection, made: Sequence[tuple[Made, list[int]]]) -> None:
    """In an order that says nothing; without a feature there is no control of it."""
    kept = {number for number, (each, intervals) in enumerate(made) if intervals}
    kept -= {number for number in kept if made[number][0].pair not in {None, *kept}}
    if not kept:
        raise Refused("None of these fires on enough texts in the intervals that are to be scored.")
    order = Random(study.seed).sample(sorted(kept), len(kept))
    rows: dict[int, Subject] = {}
    for number in sorted(kept):  # features are before their controls
        each, intervals = made[number]
        rows[number] = Subject.objects.create(
            study=study,
            number=order.index(number),
            kind=each.kind,
            sae_id=each.sae,
            index=each.index,
            pair=None if each.pair is None else rows[each.pair],
            about=each.about or {},
            density=each.n_fired / collection.tokens,
            evidence=each.evidence.row(),
        )
        Item.objects.bulk_create(_item(rows[number], interval) for interval in intervals)
    about = {"corpus": collection.corpus.slug, "tokens": collection.tokens, "evidence": collection.evidence_id}
    Study.objects.filter(pk=study.pk).update(about=about)


def _keep_practice(study: Study, *, first: int) -> None:
    keys = [each.key for each in criteria_of(study.rubric.criteria)]
    for number, each in enumerate(practice(keys), first):
        subject = Subject.objects.create(
            study=study, number=number, kind=SubjectKind.PRACTICE, density=0.0, evidence=each.evidence.row()
        )
        Item.objects.bulk_create([_item(subject, each.interval, each.known)])


def _item(subject: Subject, interval: int, known: dict[str, Any] | None = None) -> Item:
    return Item(subject=subject, interval=interval, key=secrets.token_urlsafe(KEY_BYTES), known=known)
