"""What is seen of latents: of those in the library by their rows, of controls in evidence that was just collected."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from explorer.models import Activity, Collection, Examples, Feature
from explorer.packed import examples as examples_form
from explorer.packed import feature as feature_form
from explorer.work import packing
from explorer.work.studying.freezing import Seen
from sae_core import ArrayFile


@dataclass(frozen=True, slots=True)
class Latent:
    """Of an SAE, with what it fired on."""

    index: int
    n_fired: int
    seen: Seen

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
        found.append(Latent(index, active[index].n_fired, seen))
    return found


def collected(evidence: Path) -> list[Latent]:
    """All of a file."""
    file = ArrayFile(evidence)
    n = int(file.about["latents"])
    maxima, n_fired = file["max_act"].tolist(), file["n_fired"].tolist()
    rows = zip(packing.examples(file, 0, n), packing.features(file, 0, n), strict=True)
    return [
        Latent(
            index,
            int(n_fired[index]),
            Seen(examples_form.unpack(packed, maxima[index]), feature_form.unpack(weights).lens, maxima[index]),
        )
        for index, (packed, weights) in enumerate(rows)
    ]
