"""The figures of an SAE, each with what it means and how it was computed."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from explorer import densities
from explorer.figures import Figure
from explorer.models import Collection, Sae
from explorer.numbers import count, percent, significant
from explorer.queries.distributions import Kinds

SPARSE_CODING = 512  # tokens that the search for sparse codes is run on


def of_quality(sae: Sae) -> list[Figure]:
    """How well it stands in for what it reconstructs."""
    metrics = sae.metrics
    if not metrics:
        explanation = "They are measured by a job of their own, which starts when the SAE is added."
        return [Figure(label, "not measured yet", tone="none", explanation=explanation)
                for label in ("L0", "Variance unexplained", "CE degradation", "Loss recovered")]  # fmt: skip
    return [_l0(metrics), _fvu(metrics), _degradation(metrics), _recovered(metrics)]


def of_firing(sae: Sae, collection: Collection | None, kinds: Kinds | None) -> list[Figure]:
    """What there is to browse."""
    latents = Figure(
        "Latents",
        count(sae.n_latents),
        beside=f"{significant(sae.n_latents / sae.d_in)} × the {count(sae.d_in)} dimensions it reads",
        explanation="Each is a direction in the activations, and a feature with a page of its own.",
        href=_browse(sae),
    )
    if not collection or not kinds:
        return [latents]
    return [latents, _never_fired(sae, collection, kinds), _seldom(sae, collection, kinds), _dense(sae, kinds),
            _tokens(collection)]  # fmt: skip


def measured_on(sae: Sae) -> str:
    """Which part of the text the figures of quality are of."""
    metrics = sae.metrics
    if not metrics:
        return ""
    said = [f"{count(metrics.get('tokens', 0))} tokens"]
    if metrics.get("contexts"):
        said.append(f"in {count(metrics['contexts'])} contexts drawn evenly from what it was read over")
    if metrics.get("masked"):
        said.append(f"{count(metrics['masked'])} masked ones left out")
    if metrics.get("sinks"):
        treated = "left out" if metrics.get("sinks_left_out") else "among them"
        said.append(f"{count(metrics['sinks'])} attention sinks {treated}")
    return ", ".join(said)


def _l0(metrics: dict[str, Any]) -> Figure:
    return Figure(
        "L0",
        significant(metrics.get("l0")),
        unit="latents a token",
        explanation="How many latents fire on a token, on average. Masked tokens do not count.",
    )


def _fvu(metrics: dict[str, Any]) -> Figure:
    baselines = metrics.get("baselines") or {}
    beside = [
        f"{name}: {significant(baselines[key])}"
        for name, key in (("PCA of equal rank", "pca_fvu"), ("codes by search", "sparse_coding_fvu"))
        if baselines.get(key) is not None
    ]
    return Figure(
        "Variance unexplained",
        significant(metrics.get("fvu")),
        unit="fvu",
        beside="; ".join(beside),
        explanation="The squared error of the reconstruction over the variance of the activations around their mean. 0 "
        "is perfect; 1 is no better than the mean. Beside it what as many principal components as L0 leave "
        f"unexplained, and what this decoder leaves where a search, on {SPARSE_CODING} of the tokens, chooses the "
        "latents in the encoder’s place: less than that its encoder cannot do.",
    )


def _degradation(metrics: dict[str, Any]) -> Figure:
    clean, with_sae = metrics.get("ce_clean"), metrics.get("ce_sae")
    known = clean is not None and with_sae is not None
    return Figure(
        "CE degradation",
        significant(metrics.get("ce_degradation")),
        unit="nats a token",
        beside=f"{significant(clean)} without, {significant(with_sae)} with the SAE" if known else "",
        explanation="By how much the lm’s cross-entropy loss grows where the reconstruction stands in the activations’ "
        f"place. The mean KL divergence of what it then predicts is {significant(metrics.get('kl'))} nats.",
    )


def _recovered(metrics: dict[str, Any]) -> Figure:
    beside = [
        f"{name}: {significant(metrics[key])}"
        for name, key in (("set to zero", "ce_zero"), ("to the mean", "ce_mean"))
        if metrics.get(key) is not None
    ]
    return Figure(
        "Loss recovered",
        percent(metrics.get("loss_recovered")),
        beside="; ".join(beside),
        explanation="How much of the loss that comes of setting these activations to zero the reconstruction avoids. "
        "Against setting them to their mean, which hurts less, it is "
        f"{percent(metrics.get('loss_recovered_mean'))}. Beside it the cross-entropy of both.",
    )


def _never_fired(sae: Sae, collection: Collection, kinds: Kinds) -> Figure:
    return Figure(
        "Never fired",
        count(kinds.never),
        unit=f"of {count(sae.n_latents)}",
        beside=percent(kinds.never / sae.n_latents),
        tone="warn" if kinds.never > sae.n_latents / 10 else "",
        explanation=f"Latents that stayed silent on every one of {count(collection.tokens)} tokens. That is not "
        f"dead: such a latent may still fire on up to {percent(densities.at_most(collection.tokens))} of tokens. "
        "They keep their pages.",
        href=_browse(sae, fires="never"),
    )


def _seldom(sae: Sae, collection: Collection, kinds: Kinds) -> Figure:
    enough = collection.tokens >= densities.ENOUGH
    return Figure(
        "Ultra-low" if enough else "Too seldom to tell",
        count(kinds.ultra_low),
        beside=f"fire fewer than {densities.ULTRA_LOW} times",
        explanation="Latents that fire, but hardly ever. Of so few firings little can be said"
        + ("." if enough else f"; whether they are ultra-low shows from {count(densities.ENOUGH)} tokens on."),
        href=_browse(sae, fires="ultra-low"),
    )


def _dense(sae: Sae, kinds: Kinds) -> Figure:
    return Figure(
        "Dense",
        count(kinds.dense),
        beside=f"fire on over {percent(densities.DENSE)} of tokens",
        explanation="What fires so often seldom stands for one thing that a person would name.",
        href=_browse(sae, fires="dense"),
    )


def _tokens(collection: Collection) -> Figure:
    return Figure(
        "Tokens read",
        count(collection.tokens),
        beside=f"{count(collection.masked)} more were masked" if collection.masked else "",
        explanation="Those that count. Beginnings of text and padding are masked: they are in no count, no "
        "average and no list, and not in what densities are divided by.",
    )


def _browse(sae: Sae, **filters: str) -> str:
    address = reverse("features", args=[sae.slug])
    return f"{address}?{urlencode(filters)}" if filters else address
