from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from explorer.models.jobs import Job


class Steering(models.Model):
    """What an lm wrote while features were changed, and all that it takes to have it written again."""

    key = models.CharField(max_length=16, unique=True)  # in its address, which nobody comes upon by counting
    asked = models.JSONField()  # steering.Asked
    result = models.JSONField(null=True)  # work/steering.py
    job = models.OneToOneField(Job, null=True, on_delete=models.SET_NULL, related_name="steering")
    who = models.CharField(max_length=200)  # what limits count by
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["who", "-id"], name="steering_by_who")]

    def __str__(self) -> str:
        return f"steering {self.key}"
