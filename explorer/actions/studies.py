"""Studies: made, opened, closed, opened again, shown, removed."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from explorer.actions import editions, feature_scores, jobs
from explorer.actions.audit import Action, note
from explorer.models import Item, Rubric, Sae, Score, Slot, Study
from explorer.models.studies import StudyState, SubjectKind
from explorer.plain import one_line, plain
from explorer.studies.rubrics import Points

LONGEST_NAME, LONGEST_GUIDELINES, LONGEST_WHY = 200, 20_000, 2_000  # characters
MOST_PER_ITEM, MOST_SUBJECTS, MOST_SEATS = 20, 2_000, 50_000


class NotPossible(Exception):
    """Why, for the person who asked."""


def make(
    sae: Sae,
    rubric: Rubric,
    *,
    name: str,
    intervals: Sequence[int],
    per_item: int,
    sample: Mapping[str, Any],
    controls: Mapping[str, int],
    staged: bool,
    guidelines: str,
    seed: int,
    practice: bool,
    untrained: Sae | None = None,
    by: User | None,
) -> Study:
    """And starts the job that reads its controls and copies all evidence into it. `sample`: studies/sampling.py;
    `untrained`: the SAE on a re-initialised lm that controls are latents of; `practice`: a round with known answers."""
    try:
        with transaction.atomic():
            study = Study.objects.create(
                name=one_line(name) or "Unnamed",
                sae=sae,
                lm_id=sae.lm_id,
                rubric=rubric,
                staged=staged,
                per_item=per_item,
                intervals=sorted(intervals),
                sample=dict(sample),
                controls={kind: n for kind, n in controls.items() if n},
                guidelines=plain(guidelines),
                seed=seed,
                created_by=by,
            )
            arguments = {"study": study.pk, "untrained": untrained.pk if untrained else None, "practice": practice}
            study.job = jobs.start("study", arguments, by=by)
            study.save(update_fields=["job"])
    except IntegrityError:  # told when the transaction ends
        raise NotPossible(f"{sae.name} has just been removed.") from None
    return study


def change(study: Study, *, name: str, guidelines: str | None = None) -> None:
    """What annotators go by stays as it is once they do."""
    with transaction.atomic():
        found = Study.objects.select_for_update().get(pk=study.pk)
        if guidelines is not None and found.state != StudyState.DRAFT:
            raise NotPossible(f"{found} has been opened, and its guidelines are what annotators go by.")
        found.name = one_line(name) or "Unnamed"
        found.guidelines = found.guidelines if guidelines is None else plain(guidelines)
        found.save(update_fields=["name", "guidelines"])
        if found.shown:
            editions.of(found.sae_id)
    study.refresh_from_db()


def know(item: Item, points: Points, why: str) -> None:
    """The answer to an item by which annotators are measured from then on: it is a gold one."""
    _know(item, {**(item.known or {}), "points": points, "why": plain(why)})


def know_no_more(item: Item) -> None:
    if item.subject.kind == SubjectKind.PRACTICE:
        raise NotPossible("Practice is held against its answers, so each has one. Give another.")
    _know(item, None)


def _know(item: Item, known: dict[str, Any] | None) -> None:
    with transaction.atomic():
        # First, as whoever scores holds the study: a score that is being given waits for it, or was before it.
        Study.objects.filter(pk=item.subject.study_id).update(edition=F("edition") + 1)
        if Score.objects.filter(item=item).exists():
            raise NotPossible("Somebody has scored this item, so that its answer stays as it was then.")
        Item.objects.filter(pk=item.pk).update(known=known)
    item.refresh_from_db(fields=["known"])


def open_(study: Study) -> None:
    """To annotators, who see none of its scores: for each item as many seats as it wants. A closed one goes on where it
    was."""
    with transaction.atomic():
        found = Study.objects.select_for_update().get(pk=study.pk)
        items = Item.objects.filter(subject__study=found).exclude(subject__kind=SubjectKind.PRACTICE)
        if not items.exists():
            raise NotPossible(f"{found} has no items yet.")
        if found.state == StudyState.DRAFT:
            Slot.objects.bulk_create(
                Slot(study=found, item_id=item, seat=seat)
                for seat in range(found.per_item)
                for item in items.order_by("subject__number", "interval").values_list("pk", flat=True)
            )
        Study.objects.filter(pk=found.pk).update(
            state=StudyState.OPEN,
            opened_at=Coalesce("opened_at", Now()),
            closed_at=None,
            shown=False,
            edition=F("edition") + 1,
        )
        feature_scores.changed(found)
    study.refresh_from_db()


def close(study: Study) -> None:
    """Who is at it just now loses nothing: what comes later is kept as an extra score."""
    with transaction.atomic():
        q = Study.objects.filter(pk=study.pk, state=StudyState.OPEN)
        if not q.update(state=StudyState.CLOSED, closed_at=Now(), edition=F("edition") + 1):
            raise NotPossible(f"{study} is not open.")
        Slot.objects.filter(study=study, filled_at=None).update(annotator=None, claimed_at=None, lease_until=None)
    study.refresh_from_db()


def show(study: Study, shown: bool) -> None:
    """Its scores on features' pages, once nobody scores any more; or no longer."""
    with transaction.atomic():
        found = Study.objects.select_for_update().get(pk=study.pk)
        if shown and found.state != StudyState.CLOSED:
            raise NotPossible(f"{study} is still {found.get_state_display()}: close it first, as annotators are blind.")
        Study.objects.filter(pk=study.pk).update(shown=shown, edition=F("edition") + 1)
        feature_scores.refresh(found.sae_id)
    study.refresh_from_db()


def remove(study: Study, *, by: User, address: str) -> None:
    """With all that was scored in it, and the job that prepares it."""
    with transaction.atomic():
        if study.job_id:  # first, as it holds its own row while it writes the study
            _cancel(study.job_id)
        found = Study.objects.select_for_update().get(pk=study.pk)
        scores = Score.objects.filter(item__subject__study=found).count()
        details = {"sae": found.sae.slug, "scores": scores}
        note(Action.STUDY_REMOVED, found.name, by=by, address=address, details=details)
        Study.objects.filter(pk=found.pk).update(going=True)
        feature_scores.refresh(found.sae_id)
        found.delete()


def _cancel(job_id: int) -> None:
    with suppress(jobs.NotPossible):  # it has ended
        jobs.cancel(job_id)
