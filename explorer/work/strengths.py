"""How strongly features are best added, tried over some of the text that they were collected from.

Arguments: `sae`, its id; `indices`, of which features, or all that have a label.
"""

from typing import Any

from django.db.models.functions import Now

from explorer.actions import editions
from explorer.models import Corpus, Label, Sae, Strength
from explorer.queries import features as feature_queries
from explorer.queries import library
from explorer.queries.features import FeaturePage
from explorer.work.attempt import Attempt, Refused
from explorer.work.opening import corpus_of, lm_of, refusing, sae_of
from sae_core.strengths import Tried, best, tried

TIMES = (0.5, 1.0, 2.0, 4.0, 8.0)  # the 99th percentile
TOKENS = 10  # that its logits raise most
TEXTS, LENGTH = 6, 32


def run(attempt: Attempt) -> dict[str, Any]:
    row = Sae.objects.filter(pk=attempt.arguments["sae"]).first()
    sae = library.sae(row.slug) if row else None
    collection = library.newest(sae) if sae else None
    if sae is None or collection is None:
        raise Refused("What was to be measured has been removed, or was not read yet.")
    indices = attempt.arguments.get("indices")
    if indices is None:
        named = Label.objects.filter(sae=sae, current=True).exclude(text="")
        indices = sorted(named.values_list("index", flat=True))
    with refusing():
        lm = lm_of(sae.lm)
        opened, texts = sae_of(sae, lm), _texts(collection.corpus)
        measured = []
        for index in attempt.steps(indices, total=len(indices), unit="features"):
            page = feature_queries.feature(sae, index)
            if page is None or page.activity is None or not page.activity.p99 or page.lens is None:
                continue  # it was not seen to fire, so there is nothing to measure by
            tokens = [each.token for each in page.lens.top[:TOKENS]]
            values = [times * page.activity.p99 for times in TIMES]
            _keep(attempt, page, tried(lm, opened, index, values, tokens, texts))
            measured.append(index)
    return {"sae": sae.slug, "measured": measured}


def _texts(corpus: Corpus) -> list[list[int]]:
    """Drawn evenly."""
    with corpus_of(corpus) as opened:
        count = min(TEXTS, len(opened.contexts))
        chosen = [number * len(opened.contexts) // count for number in range(count)]
        found = [opened.contexts[each][: min(LENGTH, int(opened.lengths[each]))].tolist() for each in chosen]
    return [each for each in found if len(each) > 1]


def _keep(attempt: Attempt, page: FeaturePage, found: list[Tried]) -> None:
    by_value = dict(zip((each.value for each in found), TIMES, strict=True))
    chosen = best(found)
    about = {
        "times": by_value[chosen.value],
        "likelier": chosen.likelier,
        "perplexity": chosen.perplexity,
        "tried": [each._asdict() | {"times": by_value[each.value]} for each in found],
        "measured_at": Now(),
    }
    with attempt.transaction():
        Strength.objects.update_or_create(sae=page.sae, index=page.index, defaults=about)
        editions.of(page.sae.pk)
