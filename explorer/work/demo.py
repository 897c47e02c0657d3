"""The bundle's SAEs, added as anybody's are: those of one lm and hookpoint together, the cheapest first. Once one can
be looked at, its features have the bundle's labels."""

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Q

from explorer.actions import labels, lists, steerings, whole_studies
from explorer.models import Sae
from explorer.work import snippets
from explorer.work.attempt import Attempt, Refused
from explorer.work.explore import Following, add, start_following, start_reading, usual_map
from explorer.work.following import start_or_find

BUNDLE: Path = settings.BASE_DIR / "demo"


class Group(NamedTuple):
    """SAEs of one lm that are read in one pass."""

    lm: str
    saes: tuple[str, ...]
    mapped: tuple[str, ...] = ()  # on one map
    contexts: int | None = None  # None: all


# The first is small, and reads but some of the text at first, so that there is soon something to look at.
GROUPS = (
    Group("one-layer", ("one-layer-relu-512",), contexts=1024),
    Group(
        "one-layer",
        ("one-layer-relu-512", "one-layer-relu-2048", "one-layer-relu-4096", "one-layer-relu-4096-seed1"),
        mapped=("one-layer-relu-512", "one-layer-relu-2048", "one-layer-relu-4096"),
    ),
    Group("deep", ("deep-batchtopk-512", "deep-topk-1024", "deep-batchtopk-2048"), mapped=("deep-batchtopk-2048",)),
    Group("one-layer-untrained", ("one-layer-untrained-relu-4096",)),
)


def run(attempt: Attempt) -> dict[str, Any]:
    """One group; its successor comes when this one can be looked at, and metrics last."""
    number = attempt.arguments.get("group", 0)
    group = GROUPS[number]
    if not BUNDLE.is_dir():
        raise Refused(f"{BUNDLE}: the demo's bundle is not there.")
    for name, pk in zip(GROUPS[number - 1].saes, attempt.arguments.get("saes", ()), strict=False):
        say(name, pk)
    found: list[Sae] = []
    for name in group.saes:
        added = add(
            attempt,
            {
                "lm": str(BUNDLE / "lms" / group.lm),
                "sae": str(BUNDLE / "saes" / name),
                "corpus": str(BUNDLE / "corpus"),
                "corpus_name": "Code and documentation",
                "name": name,
                "fit": "keep",
            },
        )
        found.append(added.sae)
    then: list[Following] = [("demo", {"group": number + 1, "saes": [sae.pk for sae in found]})]
    mapped = [sae for name, sae in zip(group.saes, found, strict=True) if name in group.mapped]
    if number + 1 == len(GROUPS):
        read_here = Q(collections__corpus=added.corpus) | Q(pk__in=[sae.pk for sae in found])
        labelled = Sae.objects.filter(labels__current=True, strengths=None).order_by("pk").distinct()
        unmeasured = Sae.objects.filter(read_here, metrics__isnull=True).order_by("n_latents", "pk").distinct()
        then = [("measure", {"sae": sae.pk, "corpus": added.corpus.pk}) for sae in unmeasured]
        then += [("strength", {"sae": sae.pk}) for sae in labelled]
    then += [usual_map(mapped)] if mapped else []
    collecting = start_reading(attempt, found, added.corpus, contexts=group.contexts, then=then)
    if collecting is None:
        start_following(attempt, then)
    named = Sae.objects.filter(pk__in=attempt.arguments.get("saes", ()), labels__current=True)
    if most_named := named.annotate(n=Count("labels")).order_by("-n").first():
        # The text that the library opens on is read by the one whose features tell most.
        start_or_find(attempt, "read_text", snippets.of(most_named, added.corpus))
    return {"saes": [sae.slug for sae in found], "collect": collecting}


def say(name: str, pk: int) -> None:
    """What was said of an SAE's features when the bundle was made, where nobody here has said anything."""
    sae = Sae.objects.filter(pk=pk).first()
    if sae is None:  # somebody has removed it
        return
    said = json.loads((BUNDLE / "labels.json").read_text(encoding="utf-8"))
    labels.give_first(sae, {int(index): text for index, text in said["labels"].get(name, {}).items()})
    entries = [each for each in said["list"]["entries"] if each["sae"] == name]
    if entries:
        found = lists.of_nobody(said["list"]["name"], said["list"]["notes"])
        for each in entries:
            lists.keep(found, sae, each["index"], by=None, text=each["note"])
    for each in json.loads((BUNDLE / "steerings.json").read_text(encoding="utf-8")):
        if each["sae"] == name:
            steerings.show(each["key"], each["title"], each["asked"], each["result"])
    study = json.loads(gzip.decompress((BUNDLE / "study.json.gz").read_bytes()))
    if study["sae"] == sae.fingerprint:
        whole_studies.bring(sae, study)
