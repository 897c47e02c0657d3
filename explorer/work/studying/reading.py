"""What is seen of latents: of those in the library by their rows, of controls in evidence that was just collected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explorer.models import Activity, Collection, Examples, Feature
from explorer.packed import examples as examples_form
from explorer.packed import feature as feature_form
from explorer.work import packing
from explorer.work.studying.freezing import Seen
from sae_core import ArrayFile

Figures = tuple[float, float, float, float]


def figures(n_fired: int, n_contexts: int, mean: float, deviation: float, maximum: float) -> Figures:
    """What a page would tell a latent by: how often it fires, and in a context; how strong that is beside its
    strongest, on the whole, and how far it varies."""
    return math.log(n_fired), math.log(n_fired / n_contexts), mean / maximum, deviation / maximum


@dataclass(frozen=True, slots=True)
class Latent:
    """Of an SAE, with what it fired on."""

    index: int
    n_fired: int
    n_contexts: int
    mean: float
    deviation: float
    seen: Seen

    @property
    def figures(self) -> Figures:
        return figures(self.n_fired, self.n_contexts, self.mean, self.deviation, self.seen.maximum)

    @property
    def floor(self) -> float:
        """Its smallest activation above 0 beside its largest, as far as the histogram's bins tell."""
        histogram = self.seen.unpacked.histogram
        return min(histogram[0].low / self.seen.maximum, 0.99) if histogram and self.seen.maximum else 0.0


def latents(collection: Collection, indexes: Sequence[int]) -> list[Latent]:
    """In that order; those that fire alone have anything to be seen."""
    of_collection = {"collection": collection, "index__in": indexes}
    active = {each.index: each for each in Activity.objects.filter(**of_collection)}
    packed = dict(Examples.objects.filter(**of_collection).values_list("index", "packed"))
    weights = dict(Feature.objects.filter(sae=collection.sae_id, index__in=indexes).values_list("index", "packed"))
    found = []
    for index in indexes:
        maximum = active[index].maximum
        seen = Seen(
            examples_form.unpack(bytes(packed[index]), maximum),
            feature_form.unpack(bytes(weights[index])).lens,
            maximum,
        )
        found.append(_of_row(active[index], seen))
    return found


def collected(evidence: Path) -> list[Latent]:
    """All of a file."""
    file = ArrayFile(evidence)
    n = int(file.about["latents"])
    n_fired, maxima = np.asarray(file["n_fired"]), np.asarray(file["max_act"])
    means = file["sum_act"] / n_fired
    deviations = np.sqrt(np.maximum(file["sum_sq_act"] / n_fired - means**2, 0))
    rows = zip(packing.examples(file, 0, n), packing.features(file, 0, n), strict=True)
    return [
        Latent(
            index,
            int(n_fired[index]),
            int(file["n_contexts"][index]),
            float(means[index]),
            float(deviations[index]),
            Seen(
                examples_form.unpack(packed, float(maxima[index])),
                feature_form.unpack(weights).lens,
                float(maxima[index]),
            ),
        )
        for index, (packed, weights) in enumerate(rows)
    ]


def _of_row(activity: Activity, seen: Seen) -> Latent:
    return Latent(activity.index, activity.n_fired, activity.n_contexts, activity.mean, activity.deviation, seen)
