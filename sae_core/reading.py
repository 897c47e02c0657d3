"""A text run through an lm and an SAE: what fires where, and of what each token's activation is made.

    y = Σ fᵢ·dᵢ + bias + error        each projected on y's direction, in shares of |y|: together they are 1

dᵢ is what a latent writes once normalising is undone; the bias is all that the SAE writes where nothing fires: b_dec,
what normalising took away, what a skip connection brings. A share below 0 is of a part that points away from y.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from sae_core.attached import Attached
from sae_core.lm import Lm
from sae_core.sae import Sae

PARTS = 16  # latents of a token
FIRST = 150  # latents of the whole text by each figure


def reading(
    lm: Lm, sae: Sae, ids: Sequence[int], masked: Collection[int], also: Collection[int] = ()
) -> dict[str, Any]:
    """As JSON, bounded however much fires: of each of the `tokens` its `parts`, the strongest latents as [index,
    activation, share]; how many `others` fire and their share; the shares of `bias` and `error`. Of the `features` that
    are first by one of them, the maximum, sum and count over the tokens that are not masked. `beyond`: the tokens at
    which these fire, and latents that are `also` asked for, without being among the parts, as [place, activation].
    """
    x, y = (each[0].float() for each in Attached(lm, sae).read([list(ids)]))  # (length, d_in), (length, d_out)
    acts = sae.encode(x)  # (length, n_latents)
    shares, bias, error = _shares(sae, x, y, acts)
    counted = torch.tensor([token not in masked for token in ids])
    strengths, indices = acts.abs().topk(min(PARTS, acts.shape[1]), dim=1)  # of a signed SAE negative ones fire too
    fires = strengths > 0
    columns = (indices, acts.gather(1, indices), shares.gather(1, indices))  # (length, PARTS) each
    others = shares.sum(1) - columns[2].mul(fires).sum(1)
    n_others = acts.count_nonzero(1) - fires.sum(1)
    tokens = []
    for place, n in enumerate(fires.sum(1).tolist()):
        parts = [
            [index, _short(act), _short(share)] for index, act, share in zip(*_rows(columns, place, n), strict=True)
        ]
        one = {"parts": parts, "others": [int(n_others[place]), _short(others[place])]}
        tokens.append(one | {"bias": _short(bias[place]), "error": _short(error[place])})
    features = _features(acts[counted])
    return {
        "tokens": tokens,
        "features": features,
        "beyond": _beyond(acts, indices, sorted({*map(int, features), *also})),
    }


def _rows(columns: Sequence[Tensor], place: int, n: int) -> list[list[float]]:
    return [each[place, :n].tolist() for each in columns]


def _shares(sae: Sae, x: Tensor, y: Tensor, acts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of features, bias and error in the activation, along its own direction.  # (n, n_latents), (n), (n)"""
    squared = y.square().sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)  # (n, 1)
    along = y / squared
    features = acts * (along @ sae.W_dec.T.float())  # (n, n_latents)
    if sae.config.undo_normalise:
        features *= sae.normalised(x).scale
    # All that the reconstruction holds when nothing fires: the bias, what normalising took away, a skip connection.
    silent = sae.decode(torch.zeros_like(acts), x)
    bias = (silent * along).sum(-1)
    return features, bias, 1 - features.sum(-1) - bias


def _features(acts: Tensor) -> dict[str, list[float]]:
    """Those that are first by their maximum, sum or count, with the three; as many of each."""
    if not len(acts):
        return {}
    firing = acts != 0
    figures = acts.amax(0), acts.sum(0), firing.sum(0)  # (n_latents) each
    n = min(FIRST, int(firing.any(0).sum()))
    chosen = sorted({int(index) for each in figures for index in each.topk(n).indices})
    most, total, count = figures
    return {str(index): [_short(most[index]), _short(total[index]), int(count[index])] for index in chosen}


def _beyond(acts: Tensor, among_parts: Tensor, latents: list[int]) -> dict[str, list[list[float]]]:
    rest = acts.scatter(1, among_parts, 0.0)[:, latents]  # (length, len(latents))
    found: dict[str, list[list[float]]] = {}
    for place, column in rest.nonzero().tolist():
        found.setdefault(str(latents[column]), []).append([place, _short(rest[place, column])])
    return found


def _short(number: Tensor | float) -> float:
    """As many digits as anybody is shown."""
    return float(f"{float(number):.5g}")
