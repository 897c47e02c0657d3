"""How fast texts become HTML: `python -m benchmarks.token_text`.

What a feature's page shows, 10 texts of 128 tokens, by `explorer.tokens.render` and by a Django template that makes the
same markup in a loop, of tokens that have been joined, levelled and formatted for it beforehand. The two take turns,
round after round; figures are medians over the rounds, and ratios are medians of the ratios within a round.
"""

import argparse
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

import django
from django.template import Context, Engine

from benchmarks import machine
from explorer.tokens import Vocabulary, render

TEXTS, LENGTH, PEAK = 10, 128, 8.0
MOST = 3.0  # milliseconds

TEMPLATE = """{% for text in texts %}\
<div class="tokens" role="group" aria-label="Tokens" dir="auto" data-first="0" data-peak="8">\
{% for token in text %}<span{% if token.look %} class="{{ token.look }}"{% endif %}\
{% if token.stop %} tabindex="0"{% endif %} data-t="{{ token.ids }}" data-a="{{ token.activations }}">\
{{ token.text }}</span>{% endfor %}</div>{% endfor %}"""


@dataclass(frozen=True)
class Text:
    ids: list[int]
    activations: list[float]


@dataclass(frozen=True)
class Case:
    name: str
    tokens: list[bytes]
    texts: list[Text]

    def render(self, vocabulary: Vocabulary) -> str:
        return "".join(render(vocabulary, text.ids, text.activations, peak=PEAK) for text in self.texts)


@dataclass
class Figures:
    bytes: int
    milliseconds: dict[str, list[float]]

    def median(self, way: str) -> float:
        return statistics.median(self.milliseconds[way])

    def over_ours(self, way: str) -> float:
        pairs = zip(self.milliseconds[way], self.milliseconds["ours"], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.token_text", description=__doc__)
    parser.add_argument("--rounds", type=int, choices=range(1, 10_001), default=200, metavar="N", help="default 200")
    rounds = parser.parse_args(arguments).rounds
    other_load = machine.OtherLoad()
    measured = {case.name: _measure(case, rounds) for case in _cases()}
    _print(measured, rounds, other_load.share())
    return 0


# What is shown


def _cases() -> list[Case]:
    dice = random.Random(0)
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(1, 9))) for _ in range(20_000)]
    latin = [f" {word}".encode() for word in words] + [b",", b".", b"<b>", b"&", "naïve".encode()]
    english = [[dice.randrange(len(latin)) for _ in range(LENGTH)] for _ in range(TEXTS)]

    # Every character is cut after its second byte, as byte-level vocabularies do with rare ones.
    characters = [chr(dice.randrange(0x4E00, 0x9FFF)).encode() for _ in range(TEXTS * LENGTH // 2)]
    halves = [half for character in characters for half in (character[:2], character[2:])]
    tokens = sorted(set(halves))
    number = {token: place for place, token in enumerate(tokens)}
    chinese = [[number[half] for half in halves[start : start + LENGTH]] for start in range(0, len(halves), LENGTH)]

    def texts(ids: list[list[int]], firing: int) -> list[Text]:
        return [Text(each, _activations(dice, firing)) for each in ids]

    return [
        Case("6 of 128 fire", latin, texts(english, 6)),
        Case("all fire", latin, texts(english, LENGTH)),
        Case("split characters, 6 of 128 fire", tokens, texts(chinese, 6)),
        Case("split characters, all fire", tokens, texts(chinese, LENGTH)),
    ]


def _activations(dice: random.Random, firing: int) -> list[float]:
    activations = [0.0] * LENGTH
    for place in dice.sample(range(LENGTH), firing):
        activations[place] = dice.uniform(0.01, PEAK)
    return activations


def _prepared(html: str) -> list[list[dict[str, str]]]:
    """What the template needs, taken from our own markup: it gets all the thinking for nothing."""
    span = re.compile(r'<span(?: class="(.*?)")?( tabindex="0")? data-t="(.*?)" data-a="(.*?)">(.*?)</span>')
    names = ("look", "stop", "ids", "activations", "text")

    def token(match: re.Match[str]) -> dict[str, str]:
        return dict(zip(names, (unescape(value or "") for value in match.groups()), strict=True))

    return [[token(match) for match in span.finditer(text)] for text in html.split("</div>")[:-1]]


# Measuring


def _measure(case: Case, rounds: int) -> Figures:
    """Ours with everything seen before, ours in a process that has shown nothing yet, and the template's."""
    vocabulary = Vocabulary(case.tokens)
    html = case.render(vocabulary)
    template, context = Engine().from_string(TEMPLATE), Context({"texts": _prepared(html)})
    assert template.render(context) == html, "the template makes something else"
    ways: dict[str, Callable[[], str]] = {
        "ours": lambda: case.render(vocabulary),
        "ours, first": lambda: case.render(Vocabulary(case.tokens)),
        "template": lambda: template.render(context),
    }
    figures = Figures(len(html.encode()), {way: [] for way in ways})
    for _ in range(rounds):
        for way, make in ways.items():
            start = time.perf_counter()
            make()
            figures.milliseconds[way].append((time.perf_counter() - start) * 1000)
    return figures


# Telling


def _print(measured: dict[str, Figures], rounds: int, other_load: float) -> None:
    on = machine.describe()
    print(f"{machine.in_words(on)}; other load took {other_load:.0%} of it")
    print(f"{TEXTS} texts of {LENGTH} tokens, {rounds} rounds; medians in milliseconds\n")
    print(f"{'':<34}{'ours':>8}{'first':>8}{'template':>10}{'over ours':>11}{'kB':>6}")
    for name, figures in measured.items():
        ours, first, template = (figures.median(way) for way in figures.milliseconds)
        times = f"{ours:>8.2f}{first:>8.2f}{template:>10.1f}{figures.over_ours('template'):>11.1f}"
        print(f"{name:<34}{times}{figures.bytes / 1000:>6.0f}")
    print(f"\nAt most {MOST} ms is wanted. 'first' is the first time that a process shows these tokens.")
    found: dict[str, Any] = {
        "benchmark": "token_text",
        "machine": on,
        "django": django.get_version(),
        "rounds": rounds,
        "other_load": other_load,
        "cases": {
            name: {
                "milliseconds": {way: figures.median(way) for way in figures.milliseconds},
                "template_over_ours": figures.over_ours("template"),
                "bytes": figures.bytes,
            }
            for name, figures in measured.items()
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
