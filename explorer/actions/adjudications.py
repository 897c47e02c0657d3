"""Whether hypotheses about a subject mean the same. What was judged before is kept."""

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from explorer.models import Adjudication, Study, Subject
from explorer.models.studies import Meaning
from explorer.plain import plain

LONGEST_NOTE = 2_000  # characters


def adjudicate(subject_id: int, meaning: Meaning, note: str, *, by: User) -> Adjudication | None:
    """The same again is no news."""
    text = plain(note).strip()[:LONGEST_NOTE]
    with transaction.atomic():
        subject = Subject.objects.select_for_update(no_key=True).defer("evidence").filter(pk=subject_id).first()
        if subject is None:
            return None  # its study has just been removed
        current = Adjudication.objects.filter(subject=subject, current=True)
        newest = current.first()
        if newest and (newest.meaning, newest.note) == (meaning, text):
            return newest
        current.update(current=False)
        made = Adjudication.objects.create(subject=subject, meaning=meaning, note=text, by=by)
        Study.objects.filter(pk=subject.study_id).update(edition=F("edition") + 1)
    return made
