from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from explorer.models.fields import RealField
from explorer.models.jobs import Job
from explorer.models.library import Sae


class Steering(models.Model):
    """What an lm wrote while features were changed, and all that it takes to have it written again."""

    title = models.CharField(max_length=200, blank=True, db_default="")  # of one that is shown to everybody
    key = models.CharField(max_length=16, unique=True)  # in its address, which nobody comes upon by counting
    asked = models.JSONField()  # steering.Asked
    result = models.JSONField(null=True)  # work/steering.py
    job = models.OneToOneField(Job, null=True, on_delete=models.SET_NULL, related_name="steering")
    who = models.CharField(max_length=200)  # what limits count by
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["who", "-id"], name="steering_by_who"),
            models.Index(fields=["-id"], name="steering_titled", condition=~models.Q(title="")),
        ]

    def __str__(self) -> str:
        return f"steering {self.key}"


class Strength(models.Model):
    """What was found of adding so much of a feature: work/strengths.py."""

    sae = models.ForeignKey(Sae, on_delete=models.CASCADE, related_name="strengths")
    index = models.IntegerField()
    times = RealField()  # the 99th percentile of its firing activations
    likelier = RealField()  # so many times as likely its tokens are then
    perplexity = RealField()  # of what is written then, over that of what the lm writes itself
    tried = models.JSONField()  # of all strengths: times, likelier, perplexity, repetition
    measured_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sae", "index"], name="strength_once")]

    def __str__(self) -> str:
        return f"strength of feature {self.index}"
