"""What a job found of a text (work/reading_text.py), as a page shows it: the text, what clicked tokens are made of as
bars, and features in the order that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.utils.safestring import SafeString

from explorer.models import Sae
from explorer.queries import search as queries
from explorer.queries.search import Hit
from explorer.tokens import Vocabulary, alone, render

ROWS = 50
BARS = 16  # clicked tokens whose bars are drawn
HEIGHT = 32  # of the strip
COLOURS = 8  # of features side by side in a bar


class By(StrEnum):
    CLICKED = "clicked"  # the sum over the tokens that were clicked
    MAXIMUM = "maximum"
    SUM = "sum"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an activation, along its direction."""

    kind: str  # feature, others, bias, error
    left: float  # percent of the bar's width
    width: float
    share: float
    colour: int = 0
    index: int | None = None
    label: str = ""
    n: int = 0  # of the other features


@dataclass(frozen=True, slots=True)
class Bar:
    position: int
    token: SafeString
    n: int  # features that fire
    zero: float  # percent: where shares are 0
    one: float
    segments: list[Segment]


@dataclass(frozen=True, slots=True)
class Row:
    hit: Hit
    maximum: float | None  # None: not among the first of the whole text
    sum: float | None
    count: int | None
    clicked: float


@dataclass(frozen=True, slots=True)
class Strip:
    """Every token's shares one above the other, as paths of one column a token."""

    width: int
    features: str
    bias: str
    error: str


@dataclass(frozen=True, slots=True)
class Reading:
    text: SafeString
    strip: Strip
    bars: list[Bar]
    rows: list[Row]
    n_tokens: int
    n_features: int  # that are first by one of the figures of the whole text
    at: list[int]


def reading(
    result: dict[str, Any], sae: Sae, words: Vocabulary, *, at: Sequence[int], by: By, feature: int | None = None
) -> Reading:
    ids, tokens = result["ids"], result["tokens"]
    clicked = [position for position in at if position < len(ids)]
    summed: dict[int, float] = {}
    for position in clicked:
        for index, act, _ in tokens[position]["parts"]:
            summed[index] = summed.get(index, 0.0) + act
    whole = {int(index): figures for index, figures in result["features"].items()}
    order = _order(whole, summed, by)[:ROWS]
    named = set(order) | {index for position in clicked for index, _, _ in tokens[position]["parts"]}
    hits = {hit.index: hit for hit in queries.hits([sae], [(sae.pk, index) for index in sorted(named)])}
    rows = [_row(hits[index], whole.get(index), summed.get(index, 0.0)) for index in order]
    activations = activations_of(result, feature)
    label = "Tokens; choose any" if feature is None else f"Tokens and how strongly feature {feature} fires"
    return Reading(
        text=render(words, ids, activations, label=label),
        strip=_strip(tokens),
        bars=[_bar(words, ids, position, tokens[position], hits) for position in clicked[:BARS]],
        rows=rows,
        n_tokens=len(ids) - result["first"],
        n_features=len(whole),
        at=clicked,
    )


def _order(whole: dict[int, list[float]], summed: dict[int, float], by: By) -> list[int]:
    """Rising by index where they are equal."""
    if by is By.CLICKED:
        return sorted(summed, key=lambda index: (-summed[index], index))
    column = {By.MAXIMUM: 0, By.SUM: 1, By.COUNT: 2}[by]
    return sorted(whole, key=lambda index: (-whole[index][column], index))


def _row(hit: Hit, figures: list[float] | None, clicked: float) -> Row:
    if figures is None:
        return Row(hit, None, None, None, clicked)
    maximum, total, count = figures
    return Row(hit, maximum, total, int(count), clicked)


def activations_of(result: dict[str, Any], feature: int | None) -> list[float]:
    """Exact for those that a result lists, and the one that it was asked about."""
    found = [next((act for index, act, _ in each["parts"] if index == feature), 0.0) for each in result["tokens"]]
    for place, act in result.get("beyond", {}).get(str(feature), []):
        found[place] = act
    return found


def _strip(tokens: list[dict[str, Any]]) -> Strip:
    """Parts that point away are left out here, and what is left is drawn to the full height."""
    paths: dict[str, list[str]] = {"features": [], "bias": [], "error": []}
    for place, token in enumerate(tokens):
        features = sum(share for _, _, share in token["parts"]) + token["others"][1]
        parts = {"features": features, "bias": token["bias"], "error": token["error"]}
        total, top = sum(max(share, 0.0) for share in parts.values()) or 1.0, HEIGHT * 1.0
        for kind, share in parts.items():
            height = HEIGHT * max(share, 0.0) / total
            paths[kind].append(f"M{place} {top:.2f}h1v{-height:.2f}h-1z" if height else "")
            top -= height
    return Strip(len(tokens), *("".join(each) for each in paths.values()))


def _bar(words: Vocabulary, ids: list[int], position: int, token: dict[str, Any], hits: dict[int, Hit]) -> Bar:
    """Positive shares stand to the right of 0, negative ones to its left; together they are 1."""
    parts: list[tuple[str, float, int | None]] = [("feature", share, index) for index, _, share in token["parts"]]
    n_others, others = token["others"]
    parts += [("others", others, None)] if n_others else []
    parts += [("bias", token["bias"], None), ("error", token["error"], None)]
    low = sum(share for _, share, _ in parts if share < 0)
    high = max(sum(share for _, share, _ in parts if share > 0), 1.0)
    scale = 100 / (high - low)
    right, left, segments = 0.0, 0.0, []
    for number, (kind, share, index) in enumerate(parts):
        start = right if share > 0 else left + share
        right, left = (right + share, left) if share > 0 else (right, left + share)
        hit = hits.get(index) if index is not None else None
        segments.append(
            Segment(kind, (start - low) * scale, abs(share) * scale, share, number % COLOURS, index,
                    hit.label if hit else "", n_others if kind == "others" else 0)
        )  # fmt: skip
    n = len(token["parts"]) + n_others
    return Bar(position, alone(words, ids[position]), n, -low * scale, (1 - low) * scale, segments)
