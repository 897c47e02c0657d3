"""Scoring features with people: a study's items, who sits where, and what they gave.

What annotators look at is copied into the study when it is made, so an SAE that is read anew changes nothing that was
scored; and a control's evidence has just the form of a feature's.
"""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from explorer.models.fields import RealField
from explorer.models.jobs import Job
from explorer.models.library import LanguageModel, Sae


class Rubric(models.Model):
    """Criteria that features are scored by. What a study has used never changes: another version is made."""

    slug = models.SlugField(max_length=80)
    version = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=200)
    criteria: Any = models.JSONField()  # rubrics.Criterion each
    line = models.PositiveSmallIntegerField()  # a total above it counts as interpretable
    guidelines = models.TextField(blank=True)  # Markdown, what a study begins with
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["slug", "version"], name="rubric_version_once")]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class StudyState(models.TextChoices):
    DRAFT = "draft", "being prepared"
    OPEN = "open", "open"
    CLOSED = "closed", "closed"


class Study(models.Model):
    name = models.CharField(max_length=200)
    sae = models.ForeignKey(Sae, on_delete=models.PROTECT, related_name="studies")
    lm = models.ForeignKey(
        LanguageModel, on_delete=models.PROTECT, related_name="+"
    )  # whose tokens evidence is made of
    rubric = models.ForeignKey(Rubric, on_delete=models.PROTECT, related_name="studies")
    state = models.CharField(max_length=8, choices=StudyState, default=StudyState.DRAFT)
    staged = models.BooleanField(default=True)  # the hypothesis is locked before the rest of the evidence is seen
    per_item = models.PositiveSmallIntegerField()  # annotators
    intervals = ArrayField(models.PositiveSmallIntegerField())  # of each feature's maximum, 0 the lowest
    sample: Any = models.JSONField()  # how features were chosen: studies/sampling.py
    controls: Any = models.JSONField()  # of each kind how many
    guidelines = models.TextField(blank=True)  # Markdown
    seed = models.PositiveBigIntegerField()
    about: Any = models.JSONField(default=dict)  # what its evidence was read from, and how often what fires
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")  # that prepares it
    shown = models.BooleanField(default=False)  # its scores, on features' pages
    going = models.BooleanField(default=False)  # it is being removed, and what was only added to goes along
    edition = models.PositiveBigIntegerField(default=0)  # rises with every score
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    opened_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "studies"

    def __str__(self) -> str:
        return self.name


class SubjectKind(models.TextChoices):
    FEATURE = "feature", "feature"
    NEURON = "neuron", "neuron"  # where the hookpoint has none, a basis dimension
    DIRECTION = "direction", "random direction"
    UNTRAINED = "untrained", "latent of an SAE on an untrained lm"
    SHUFFLED = "shuffled", "shuffled evidence"
    PRACTICE = "practice", "practice"


class Subject(models.Model):
    """What hypotheses are about: a feature, or a control that nobody can tell from one by how it is shown."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="subjects")
    number = models.PositiveIntegerField()  # in an order that says nothing
    kind = models.CharField(max_length=10, choices=SubjectKind)
    sae = models.ForeignKey(Sae, null=True, on_delete=models.SET_NULL, related_name="+")  # where it is a latent
    index = models.IntegerField(null=True)
    pair = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="controls")
    about: Any = models.JSONField(default=dict)  # of a control, what it is
    density = RealField()
    evidence: Any = models.JSONField()  # studies/evidence.py

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="subject_once")]
        indexes = [models.Index(fields=["sae", "index"], name="subject_of_feature")]

    def __str__(self) -> str:
        return f"subject {self.number} of {self.study}"


class Item(models.Model):
    """A subject and an interval of its activations."""

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="items")
    interval = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=16, unique=True)  # in its address, which tells nothing
    known: Any = models.JSONField(null=True)  # of a gold or practice item: points by criterion, and why

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subject", "interval"], name="item_once")]

    def __str__(self) -> str:
        return f"item {self.key}"


class Annotator(models.Model):
    """Who scores: a person, or a model by its name."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="annotator"
    )
    name = models.CharField(max_length=200)
    is_model = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(is_model=True), name="annotator_model_once"),
            models.CheckConstraint(condition=Q(is_model=False) | Q(user=None), name="annotator_model_is_nobody"),
        ]

    def __str__(self) -> str:
        return self.name


class Slot(models.Model):
    """One seat for one annotator on one item."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="slots")
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="slots")
    seat = models.PositiveSmallIntegerField()
    annotator = models.ForeignKey(Annotator, null=True, on_delete=models.PROTECT, related_name="slots")
    claimed_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    filled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "seat"], name="slot_once"),
            models.UniqueConstraint(
                fields=["item", "annotator"], condition=Q(annotator__isnull=False), name="slot_of_annotator_once"
            ),
            models.CheckConstraint(
                condition=Q(filled_at=None) | Q(annotator__isnull=False), name="slot_filled_by_somebody"
            ),
        ]
        indexes = [
            models.Index(fields=["study", "seat", "item"], name="slot_to_fill", condition=Q(filled_at=None)),
            models.Index(fields=["annotator", "study"], name="slot_by_annotator"),
        ]

    def __str__(self) -> str:
        return f"seat {self.seat} of {self.item}"


class Draft(models.Model):
    """What somebody has given so far, kept whoever has the seat now."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="drafts")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="drafts")
    given: Any = models.JSONField(default=dict)  # studies/given.py
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="draft_once")]

    def __str__(self) -> str:
        return f"draft of {self.annotator} for {self.item}"


class Hypothesis(models.Model):
    """What somebody takes a subject for. In a staged study it never changes once it is there."""

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="hypotheses")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="hypotheses")
    text = models.TextField(blank=True)  # empty: none can be formed
    locked_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "hypotheses"
        constraints = [models.UniqueConstraint(fields=["subject", "annotator"], name="hypothesis_once")]

    def __str__(self) -> str:
        return self.text or "no hypothesis"


class Origin(models.TextChoices):
    PAGE = "page", "given here"
    API = "api", "sent by a program"
    IMPORT = "import", "brought in a file"


class Score(models.Model):
    """What an annotator gave an item. Rows are added; the current one counts, and no other change is possible: a
    trigger sees to it."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="scores")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="scores")
    rubric = models.ForeignKey(Rubric, on_delete=models.PROTECT, related_name="+")
    points: Any = models.JSONField()  # by criterion; null: not applicable
    total = models.PositiveSmallIntegerField()
    hypothesis = models.TextField(blank=True)  # as it was then; empty: none
    note = models.TextField(blank=True)
    flagged = models.BooleanField(default=False)
    seconds = RealField(null=True)  # from the claim to this
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.PAGE)
    extra = models.BooleanField(default=False)  # beyond the seats that there are: late, or from elsewhere
    current = models.BooleanField(default=True)
    form = models.UUIDField()  # of one claim: what is sent twice is one score
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "annotator"], condition=Q(current=True), name="score_current_once"),
            models.UniqueConstraint(fields=["item", "annotator", "form"], name="score_sent_once"),
        ]
        indexes = [models.Index(fields=["annotator", "-id"], name="score_by_annotator")]

    def __str__(self) -> str:
        return f"{self.total} by {self.annotator}"


class FeatureScore(models.Model):
    """What the newest study that shows its scores found of a feature, where its page and the browser look for it."""

    sae = models.ForeignKey(Sae, on_delete=models.CASCADE, related_name="feature_scores")
    index = models.IntegerField()
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="feature_scores")
    mean = RealField()  # of totals
    n = models.PositiveIntegerField()  # scores
    above = models.PositiveIntegerField()  # of them above the rubric's line

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sae", "index"], name="feature_score_once")]
        indexes = [models.Index(fields=["sae", "mean", "index"], name="feature_score_by_mean")]

    def __str__(self) -> str:
        return f"{self.mean:.3g} for feature {self.index} of {self.sae}"


class Skip(models.Model):
    """That somebody would rather not score an item, which is not offered to them again."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="skips")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="skips")
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="skip_once")]

    def __str__(self) -> str:
        return self.reason


class Meaning(models.TextChoices):
    SAME = "same", "the same"
    PARTLY = "partly", "partly the same"
    DIFFERENT = "different", "different things"


class Adjudication(models.Model):
    """Whether hypotheses about a subject mean the same. Rows are added; the current one counts."""

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, related_name="adjudications")
    meaning = models.CharField(max_length=10, choices=Meaning)
    note = models.TextField(blank=True)
    current = models.BooleanField(default=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject"], condition=Q(current=True), name="adjudication_current_once")
        ]

    def __str__(self) -> str:
        return self.meaning
