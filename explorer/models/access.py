from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class SignInLink(models.Model):
    """A link that signs one person in, once. Only its digest is kept."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"sign-in link for {self.user}"
