"""The figures of an SAE and of a feature, each with what it means and how it was computed."""

from dataclasses import dataclass
from typing import Any

from explorer import densities
from explorer.models import Activity, Collection, Feature, Sae
from explorer.models.features import UNKNOWN
from explorer.numbers import count, percent, significant

RANDOMLY = "The interval is Wilson’s, as if tokens were drawn one by one; as neighbours are alike, it is rather narrow."


@dataclass(frozen=True, slots=True)
class Figure:
    """What components/figure.html draws."""

    label: str
    value: str
    unit: str = ""
    beside: str = ""
    explanation: str = ""
    tone: str = ""  # "warn", or "none" where there is no value yet


def of_sae(sae: Sae, collection: Collection | None) -> list[Figure]:
    return [
        Figure(
            "Latents",
            count(sae.n_latents),
            beside=f"{significant(sae.n_latents / sae.d_in)} × the {count(sae.d_in)} dimensions it reads",
            explanation="Each is a direction in the activations, and a feature with a page of its own.",
        ),
        *_of_metrics(sae.metrics),
        *(_of_collection(sae, collection) if collection else ()),
    ]


def _of_metrics(metrics: dict[str, Any] | None) -> list[Figure]:
    if not metrics:
        explanation = "They are measured by a job of their own, which starts when the SAE is added."
        return [Figure(label, "not measured yet", tone="none", explanation=explanation)
                for label in ("L0", "Variance unexplained", "Loss recovered")]  # fmt: skip
    over = f"over {count(metrics.get('tokens', 0))} tokens"
    baselines = metrics.get("baselines") or {}
    pca = baselines.get("pca_fvu")
    clean, with_sae = metrics.get("ce_clean"), metrics.get("ce_sae")
    losses = f"{significant(clean)} nats a token, {significant(with_sae)} with the SAE" if clean and with_sae else ""
    return [
        Figure(
            "L0",
            significant(metrics.get("l0")),
            unit="latents a token",
            explanation=f"How many latents fire on a token, on average {over}. Masked tokens do not count.",
        ),
        Figure(
            "Variance unexplained",
            significant(metrics.get("fvu")),
            unit="fvu",
            beside=f"PCA of equal rank: {significant(pca)}" if pca is not None else "",
            explanation="The squared error of the reconstruction over the variance of the activations around their "
            f"mean, {over}. 0 is perfect; 1 is no better than the mean.",
        ),
        Figure(
            "Loss recovered",
            percent(metrics.get("loss_recovered")),
            beside=losses,
            explanation="How much of the loss that comes of setting these activations to zero is avoided where the "
            f"reconstruction stands in their place, {over}.",
        ),
    ]


def _of_collection(sae: Sae, collection: Collection) -> list[Figure]:
    never = collection.n_never_fired
    return [
        Figure(
            "Never fired",
            count(never),
            unit=f"of {count(sae.n_latents)}",
            beside=percent(never / sae.n_latents),
            tone="warn" if never > sae.n_latents / 10 else "",
            explanation=f"Latents that stayed silent on every one of {count(collection.tokens)} tokens. That is not "
            f"dead: such a latent may still fire on up to {percent(densities.at_most(collection.tokens))} of tokens. "
            "They keep their pages.",
        ),
        Figure(
            "Tokens read",
            count(collection.tokens),
            beside=f"{count(collection.masked)} more were masked" if collection.masked else "",
            explanation="Those that count. Beginnings of text and padding are masked: they are in no count, no "
            "average and no list, and not in what densities are divided by.",
        ),
    ]


def of_feature(feature: Feature, activity: Activity | None, collection: Collection | None) -> list[Figure]:
    found: list[Figure] = []
    if activity and collection:
        found += _of_activity(activity, collection) if activity.n_fired else [_never_fired(collection)]
    if feature.encoder_cosine != UNKNOWN:
        beside = f"cosine with its encoder: {significant(feature.encoder_cosine)}"
    else:
        beside = ""
    found.append(
        Figure(
            "Decoder norm",
            significant(feature.decoder_norm),
            beside=beside,
            explanation="The length of the direction it writes. The cosine says how far it reads what it writes.",
        )
    )
    return found


def _never_fired(collection: Collection) -> Figure:
    return Figure(
        "Fires on",
        "none",
        unit=f"of {count(collection.tokens)} tokens",
        beside=f"density at most {significant(densities.at_most(collection.tokens))}",
        tone="warn",
        explanation="It was silent on all that was read. That is not dead: with 95 % confidence its density is at most "
        "3 over the number of tokens (the rule of three).",
    )


def _of_activity(activity: Activity, collection: Collection) -> list[Figure]:
    low, high = densities.interval(activity.n_fired, collection.tokens)
    return [
        Figure(
            "Fires on",
            count(activity.n_fired),
            unit=f"of {count(collection.tokens)} tokens",
            beside=f"density {significant(activity.n_fired / collection.tokens)} "
            f"({significant(low)} to {significant(high)})",
            explanation=f"Tokens at which its activation is not 0, of all that count, and between which densities the "
            f"true one lies with 95 % confidence. {RANDOMLY}",
        ),
        Figure(
            "In contexts",
            count(activity.n_contexts),
            unit="" if activity.n_documents < 0 else f"in {count(activity.n_documents)} documents",
            explanation="In how many windows of text it fires at least once, and in how many documents. Few documents "
            "for many firings are a sign that it is about one text.",
        ),
        Figure(
            "Maximum",
            significant(activity.maximum),
            explanation="Its strongest activation. It is one token’s, and grows with the text that is read.",
        ),
        Figure(
            "99th percentile",
            significant(activity.p99),
            beside=f"mean {significant(activity.mean)}, deviation {significant(activity.deviation)}",
            explanation="Of its activations where it fires, from a histogram of eight bins an octave; mean and "
            "standard deviation are exact, and of the same tokens.",
        ),
    ]
