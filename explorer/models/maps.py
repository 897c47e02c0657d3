"""Maps of the dictionary: features of one SAE, or of several of one hookpoint, laid out in a plane."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from explorer.models.artifacts import Artifact
from explorer.models.features import Collection
from explorer.models.library import Sae

LEGENDS = ("density", "maximum", "mean")  # in the order in which they are shown


class FeatureMap(models.Model):
    """What was laid out never changes: what people say of features since is asked for beside it."""

    asked = models.JSONField()  # method, neighbours, min_dist, perplexity, seed
    about: Any = models.JSONField()  # how it was made and how far it can be trusted: sae_core.maps
    # By grain, the coarsest first: of each cluster n, place and the tokens that are most its own.
    clusters: Any = models.JSONField()
    legends: Any = models.JSONField()  # by what points can be coloured, in no order: work/mapping/legends.py
    n_points = models.PositiveIntegerField()
    points = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="+")  # work/mapping/columns.py
    tiles = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="+")  # packed/tiles.py
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"map {self.pk}"

    @property
    def legends_shown(self) -> list[str]:
        return [name for name in LEGENDS if name in self.legends]


class MapPart(models.Model):
    """An SAE's features on a map."""

    map = models.ForeignKey(FeatureMap, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveSmallIntegerField()  # by which points say whose they are
    sae = models.ForeignKey(Sae, on_delete=models.CASCADE, related_name="map_parts")
    # What its figures are of; null: it was read over no text then, or that was read anew since.
    collection = models.ForeignKey(Collection, null=True, on_delete=models.SET_NULL, related_name="+")
    n_points = models.PositiveIntegerField()
    n_silent = models.PositiveIntegerField()  # never fired, and so are not on it

    class Meta:
        ordering = ["map", "number"]
        constraints = [
            models.UniqueConstraint(fields=["map", "number"], name="map_part_once"),
            models.UniqueConstraint(fields=["map", "sae"], name="map_sae_once"),
        ]

    def __str__(self) -> str:
        return f"{self.sae} on {self.map}"
