"""How well an SAE stands in for what it reconstructs, kept with the SAE.

Arguments: `sae`; `corpus`; `contexts`, of how many it is collected, or all.
"""

from typing import Any

import numpy as np

from explorer.actions import editions
from explorer.models import Corpus, Sae
from explorer.work.attempt import Attempt, Refused
from explorer.work.opening import corpus_of, lm_of, refusing, sae_of
from sae_core import measure

CONTEXTS = 1024  # at most, drawn evenly


def run(attempt: Attempt) -> dict[str, Any]:
    arguments = attempt.arguments
    sae = Sae.objects.select_related("lm").filter(pk=arguments["sae"]).first()
    corpus = Corpus.objects.filter(pk=arguments["corpus"]).first()
    if sae is None or corpus is None:
        raise Refused("What was to be measured has been removed.")
    collected = min(arguments.get("contexts") or corpus.n_contexts, corpus.n_contexts)
    wanted = min(collected, CONTEXTS)
    chosen = np.arange(wanted) * collected // wanted
    attempt.report(done=0, total=0, unit="contexts", message=sae.name)
    with refusing(), corpus_of(corpus) as opened:
        lm = lm_of(sae.lm)
        found = measure(
            lm,
            sae_of(sae, lm),
            np.asarray(opened.contexts[chosen]),
            lengths=opened.lengths[chosen],
            on_progress=lambda done, total: attempt.report(done=done, total=total),
        ).to_json()
    with attempt.transaction():
        Sae.objects.filter(pk=sae.pk).update(metrics=found | {"corpus": corpus.slug})
        editions.of(sae.pk)
    return {"sae": sae.slug}
