"""Studies: made, opened, closed, opened again, shown, removed."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from explorer.actions import editions, jobs
from explorer.actions.audit import Action, note
from explorer.models import Item, Rubric, Sae, Score, Slot, Study
from explorer.models.studies import StudyState, SubjectKind
from explorer.plain import one_line, plain

LONGEST_NAME, LONGEST_GUIDELINES = 200, 20_000  # characters
MOST_PER_ITEM, MOST_SUBJECTS = 20, 2_000


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
    by: User | None,
) -> Study:
    """And starts the job that reads its controls and copies all evidence into it."""
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
            study.job = jobs.start("study", {"study": study.pk}, by=by)
            study.save(update_fields=["job"])
    except IntegrityError:  # told when the transaction ends
        raise NotPossible(f"{sae.name} has just been removed.") from None
    return study


def open_(study: Study) -> None:
    """To annotators: for each item as many seats as it wants. A closed one goes on where it was."""
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
            state=StudyState.OPEN, opened_at=Coalesce("opened_at", Now()), closed_at=None, edition=F("edition") + 1
        )
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
        editions.of(found.sae_id)
    study.refresh_from_db()


def remove(study: Study, *, by: User, address: str) -> None:
    """With all that was scored in it."""
    with transaction.atomic():
        found = Study.objects.select_for_update().get(pk=study.pk)
        scores = Score.objects.filter(item__subject__study=found).count()
        details = {"sae": found.sae.slug, "scores": scores}
        note(Action.STUDY_REMOVED, found.name, by=by, address=address, details=details)
        Study.objects.filter(pk=found.pk).update(going=True)
        editions.of(found.sae_id)
        found.delete()
