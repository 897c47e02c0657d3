"""The bundle's SAEs, added as anybody's are: those of one lm and hookpoint together, the cheapest first."""

from pathlib import Path
from typing import Any

from django.conf import settings

from explorer.actions import jobs
from explorer.models import Sae
from explorer.work.attempt import Attempt, Refused
from explorer.work.explore import add, start_reading

BUNDLE: Path = settings.BASE_DIR / "demo"
# Each group is read in one pass. The first is small, so that there is something to look at soon.
GROUPS = (
    ("one-layer", ("one-layer-relu-512",)),
    ("one-layer", ("one-layer-relu-2048", "one-layer-relu-4096", "one-layer-relu-4096-seed1")),
    ("deep", ("deep-batchtopk-512", "deep-topk-1024", "deep-batchtopk-2048")),
    ("one-layer-untrained", ("one-layer-untrained-relu-4096",)),
)


def run(attempt: Attempt) -> dict[str, Any]:
    """One group; its successor is started behind what this one has started."""
    group = attempt.arguments.get("group", 0)
    lm, names = GROUPS[group]
    if not BUNDLE.is_dir():
        raise Refused(f"{BUNDLE}: the demo's bundle is not there.")
    found: list[Sae] = []
    for name in names:
        added = add(
            attempt,
            {
                "lm": str(BUNDLE / "lms" / lm),
                "sae": str(BUNDLE / "saes" / name),
                "corpus": str(BUNDLE / "corpus"),
                "name": name,
                "fit": "keep",
            },
        )
        found.append(added.sae)
    started = start_reading(attempt, found, added.corpus, measure=False)
    if group + 1 < len(GROUPS):
        jobs.start("demo", {"group": group + 1}, by=attempt.job.created_by)
    else:
        for sae in Sae.objects.filter(metrics=None).order_by("n_latents", "pk"):
            jobs.start("measure", {"sae": sae.pk, "corpus": added.corpus.pk}, by=attempt.job.created_by)
    return {"saes": [sae.slug for sae in found]} | started
