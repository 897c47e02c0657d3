from typing import Any

from django.db import models


class RealField(models.FloatField):  # type: ignore[type-arg]
    """Single precision, which is what activations come in, in half the room."""

    def db_type(self, connection: Any) -> str:
        return "real"
