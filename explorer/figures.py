"""The figures of a feature, each with what it means and how it was computed; sae_figures.py has an SAE's."""

from dataclasses import dataclass

from explorer import densities
from explorer.models import Activity, Collection, Feature
from explorer.models.features import UNKNOWN
from explorer.numbers import count, significant

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
    href: str = ""  # where what it counts is shown


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
