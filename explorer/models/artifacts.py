from django.db import models
from django.db.models.functions import Now


class Artifact(models.Model):
    """A file kept by its content: weights, tokens, maps, reports. artifacts.py holds the bytes."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    name = models.CharField(max_length=200)  # what a download is called; never a path on our side
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"
