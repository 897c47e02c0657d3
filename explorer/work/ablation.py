"""What a feature does for the lm: contexts in which it fires, drawn uniformly, read once more without it.

Arguments: `sae`, its slug; `collection`, whose examples they are; `index`. The result is a row of `examples` for each,
at the token that it is an example of; and their `effect`, the mean change of the loss with its interval.
"""

import math
from typing import Any

from explorer.queries.features import Shown
from explorer.work.attempt import Attempt, Refused
from explorer.work.opening import lm_of, refusing, sae_of
from explorer.work.recompute import page_of
from sae_core import Lm
from sae_core import Sae as CoreSae
from sae_core.ablate import Votes, ablation, effect


def run(attempt: Attempt) -> dict[str, Any]:
    page = page_of(attempt.arguments)
    strip = page.examples.strip if page.examples else []
    if not strip:
        raise Refused("It fires nowhere in the text, so there is nothing to read without it.")
    with refusing():
        lm = lm_of(page.sae.lm)
        sae = sae_of(page.sae, lm)
        rows = [_row(lm, sae, page.index, each) for each in attempt.steps(strip, total=len(strip), unit="examples")]
    mean = effect([row["loss"] for row in rows if row["loss"] is not None])
    return {"examples": rows, "effect": mean._asdict() if mean else None}


def _row(lm: Lm, sae: CoreSae, index: int, example: Shown) -> dict[str, Any]:
    found, at = ablation(lm, sae, [index], [list(example.ids)]), example.position
    loss = float(found.loss[0, at])  # of the token that follows
    return {
        "context": example.context,
        "position": at,
        "activation": _short(float(found.activation[0, at])),
        "loss": None if math.isnan(loss) else _short(loss),  # the last of its context: nothing follows
        "kl": _short(float(found.kl[0, at])),
        "likelier": _votes(found.likelier, at),
        "unlikelier": _votes(found.unlikelier, at),
        "raised": _votes(found.raised, at),
        "lowered": _votes(found.lowered, at),
    }


def _votes(votes: Votes, at: int) -> list[list[float]]:
    pairs = zip(votes.ids[0, at].tolist(), votes.changes[0, at].tolist(), strict=True)
    return [[token, _short(change)] for token, change in pairs]


def _short(number: float) -> float:
    return float(f"{number:.5g}")
