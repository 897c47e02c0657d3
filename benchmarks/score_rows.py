"""What `benchmarks/score.py` has scored, and by whom; imported once Django is set up."""

import random
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, F, Q
from django.test import Client

from benchmarks import serve_rows, synthetic
from explorer.actions import rubrics, studies
from explorer.actions.annotators import annotator_of
from explorer.models import Account, Item, LanguageModel, Sae, Score, Slot, Study, Subject
from explorer.models.access import Role
from explorer.models.studies import SubjectKind
from explorer.studies.evidence import AROUND, MOST, RAISED, Evidence, Example

TOKEN = "a" * 32  # of forms; a browser has one from its first page on
INTERVALS, SCORED = 5, (1, 4)
FIRINGS = 6  # of a text


def open_study(items: int, per_item: int, annotators: int) -> dict[str, Any]:
    """Its number, and how each annotator is signed in."""
    lm, _ = LanguageModel.objects.get_or_create(
        slug="lm", name="lm", source="lm", kind="gpt2", n_layers=12, d_model=768, n_vocab=synthetic.N_VOCAB,
        fingerprint="lm",
    )  # fmt: skip
    sae, new = Sae.objects.get_or_create(
        slug="sae", name="sae", lm=lm, hookpoint="blocks.8.hook_resid_pre", family="topk", d_in=768, d_out=768,
        n_latents=items, config={}, fingerprint="sae",
    )  # fmt: skip
    if new:
        serve_rows.vocabulary_of(sae)
    study = Study.objects.create(
        name="a study", sae=sae, lm=lm, rubric=rubrics.published(), per_item=per_item, intervals=list(SCORED),
        sample={"how": "uniform", "n": items}, controls={}, seed=0,
    )  # fmt: skip
    dice = random.Random(study.pk)
    kinds = (SubjectKind.FEATURE, SubjectKind.NEURON)
    subjects = Subject.objects.bulk_create(
        [
            Subject(study=study, number=number, kind=kinds[number % 2], density=0.01, evidence=_evidence(dice))
            for number in range(items // len(SCORED))
        ],
        batch_size=50,
    )
    Item.objects.bulk_create(
        Item(subject=subject, interval=interval, key=f"{study.pk}-{subject.number}-{interval}")
        for subject in subjects
        for interval in SCORED
    )
    studies.open_(study)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return {"study": study.pk, "token": TOKEN, "cookies": [_signed_in(number) for number in range(annotators)]}


def count(study: int) -> dict[str, int]:
    slots = Slot.objects.filter(study=study)
    scores = Score.objects.filter(item__subject__study=study)
    filled = Q(filled_at__isnull=False)
    scored = scores.filter(current=True, extra=False).values("item", "annotator").distinct()
    by_their_own = slots.filter(filled, item__scores__annotator=F("annotator"), item__scores__extra=False)
    return {
        "seats": slots.count(),
        "filled": slots.filter(filled).count(),
        "filled_by_a_score": by_their_own.values("pk").distinct().count(),
        "scored": scored.count(),
        "scores": scores.count(),
        "most_of_an_item": max(
            scores.values("item").annotate(n=Count("pk")).values_list("n", flat=True), default=0
        ),
    }  # fmt: skip


def _evidence(dice: random.Random) -> dict[str, Any]:
    def example(strongest: float) -> Example:
        ids = [dice.randrange(synthetic.N_VOCAB) for _ in range(2 * AROUND + 1)]
        others = dice.sample([place for place in range(len(ids)) if place != AROUND], FIRINGS - 1)
        acts = [(place, round(strongest * dice.random(), 3)) for place in others]
        return Example(ids, AROUND, sorted([(AROUND, strongest), *acts]), (True, True))

    intervals = [
        [example((number + 0.5) / INTERVALS) for _ in range(MOST)]
        for number in range(INTERVALS)
    ]  # fmt: skip
    raised = [(dice.randrange(synthetic.N_VOCAB), 1 - number / RAISED) for number in range(RAISED)]
    return Evidence(intervals, raised).row()


def _signed_in(number: int) -> str:
    user, new = User.objects.get_or_create(username=f"annotator {number}")
    if new:
        Account.objects.create(user=user, role=Role.ANNOTATOR)
        annotator_of(user)
    client = Client()
    client.force_login(user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    return f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={TOKEN}"
