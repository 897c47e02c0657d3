"""What /patterns/ shows the components with: made up, deterministic, and as awkward as real data is."""

import math
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from django.utils.safestring import SafeString

from explorer import charts
from explorer.charts import Figure
from explorer.models.jobs import JobState
from explorer.scoring import Asked
from explorer.studies.rubrics import Criterion, Stage
from explorer.tokens import Vocabulary, render


@dataclass(frozen=True)
class SampleFeature:
    index: int
    label: str
    density: float
    maximum: float
    token: str


@dataclass(frozen=True)
class Column:
    name: str
    title: str
    numeric: bool
    sorted: str  # as aria-sort wants it
    next_dir: str


LABELS = (
    "import statements", "closing brackets", "French articles", "years between 1900 and 1999", "negation",
    "URLs", "the second half of a hyphenated word", "names of rivers", "", "Python decorators",
    "a label that somebody made very long because the feature fires on several things at once, such as dates, "
    "times of day and, less strongly, the names of months in any language",
    "شرط وجزاء", "comparisons", "<script>alert('no')</script>", "units of length", "questions",
)  # fmt: skip
TOKENS = (
    " import",
    ")",
    " le",
    "19",
    " not",
    "https",
    "-",
    " Seine",
    "",
    "@",
    " May",
    " إذا",
    "<=",
    "alert",
    " km",
    "?",
)
BOS = b"<|endoftext|>"
TEXTS = [
    ("Code", b"import numpy as np\n\ndef norm(x):\n    # the length of x\n    return np.sqrt((x ** 2).sum())\n",
     {1: 9.2, 2: 1.1, 3: 2.4, 4: 0.4, 17: 0.02, 27: 3.9}),
    ("Prose", b"The river rose in March. By the 14th it had reached the second step of the town hall, and the ferry "
     b"was moored to a lamp post. Nobody had seen the like since 1926.",
     {2: 5.4, 3: 1.3, 9: 0.9, 24: 2.0, 27: 1.6}),
    ("Characters of several bytes", "料理の本を三冊買いました。🙂 Ça coûte 12 €.".encode(),
     {4: 1.0, 5: 4.0, 6: 2.2, 16: 6.1, 30: 3.3}),
    ("Right to left", "إذا كان الجو جميلا ذهبنا إلى البحر. אם יהיה יפה נלך לים.".encode(),
     {3: 2.0, 4: 3.0, 12: 1.4, 60: 2.2}),
    ("What is hard to see", b"a\tb  c\x00d \xc2\xa0e\xe2\x80\xaef <b>&amp;</b> \xff\xfe end",
     {1: 1.0, 5: 0.3, 9: 0.8, 14: 0.5}),
    ("It fires nowhere", b"Nothing in this line makes it fire.", {}),
]  # fmt: skip
TITLES = {"index": "Index", "label": "Label", "density": "Density", "maximum": "Maximum", "token": "Top token"}


def features() -> list[SampleFeature]:
    return [
        SampleFeature(
            index=i * 37 % 4096,
            label=LABELS[i % len(LABELS)],
            density=10 ** (-1 - 5 * _noise(i)) if i % len(LABELS) != 8 else 0.0,
            maximum=30 * _noise(i + 100) + 1 if i % len(LABELS) != 8 else 0.0,
            token=TOKENS[i % len(TOKENS)],
        )
        for i in range(32)
    ]


def sorted_and_filtered(sort: str, direction: str, words: str) -> list[SampleFeature]:
    found = [feature for feature in features() if words.casefold() in feature.label.casefold()]
    return sorted(found, key=lambda feature: getattr(feature, sort), reverse=direction == "desc")


def columns(sort: str, direction: str) -> list[Column]:
    def column(name: str) -> Column:
        on = name == sort
        way = {"asc": "ascending", "desc": "descending"}[direction] if on else "none"
        return Column(name, TITLES[name], name in ("index", "density", "maximum"), way,
                      "desc" if on and direction == "asc" else "asc")  # fmt: skip

    return [column(name) for name in TITLES]


def job(state: JobState, **fields: Any) -> SimpleNamespace:
    """As much of a job as a row of the list shows."""
    shown = {"state": state, "get_state_display": state.label, "unfinished": False, "cancel_requested": False,
             "done": 0, "total": 0, "unit": "", "message": "", "pk": 1}  # fmt: skip
    return SimpleNamespace(**(shown | fields))


def jobs() -> list[SimpleNamespace]:
    return [
        job(JobState.QUEUED, unfinished=True, pk=12),
        job(JobState.RUNNING, unfinished=True, pk=11, message="reading the weights"),
        job(JobState.RUNNING, unfinished=True, pk=10, done=70_144, total=131_072, unit="tokens"),
        job(JobState.RUNNING, unfinished=True, pk=9, done=9, total=10, unit="parts", cancel_requested=True),
        job(JobState.DONE, pk=8, done=131_072, total=131_072, unit="tokens"),
        job(JobState.FAILED, pk=7, done=8_192, total=131_072, unit="tokens",
            message="layer_3.safetensors: W_dec is (768, 4096), expected (4096, 768); is it transposed?"),
        job(JobState.CANCELLED, pk=6),
    ]  # fmt: skip


def texts() -> list[tuple[str, SafeString]]:
    return [(title, render(*_tokenised(text, fires), label=title)) for title, text, fires in TEXTS]


def criteria() -> list[Asked]:
    """One of each state."""
    anchors = ("None is", "A few are, as chance would have it", "More than half are", "All are")
    asks = "How consistent are the emphasised tokens of this interval with your hypothesis?"
    states: list[tuple[str, int | None, str, bool]] = [
        ("open", None, "", False), ("given", 2, "", False), ("fixed", 3, "", True),
        ("wrong", None, "Activations: no points are given.", False),
    ]  # fmt: skip
    return [
        Asked(Criterion(key, "Activations", asks, anchors, Stage.EXAMPLES), number, value, wrong, fixed)
        for number, (key, value, wrong, fixed) in enumerate(states, 1)
    ]


def _tokenised(text: bytes, fires: dict[int, float]) -> tuple[Vocabulary, list[int], list[float]]:
    """Words with the blank before them; other text in pieces of two bytes, as byte-level BPE often cuts it."""
    pieces = re.findall(rb" ?[A-Za-z_]+| ?[0-9]+| ?[!-~]| ?[\x80-\xff]{1,2}|\n| +|[\x00-\x1f]", text)
    tokens = [*dict.fromkeys([BOS, *pieces])]
    ids = [tokens.index(piece) for piece in [BOS, *pieces]]
    return Vocabulary(tokens, frozenset([0])), ids, [fires.get(place, 0.0) for place in range(len(ids))]


def chart(name: str) -> Figure | None:
    if name == "histogram":
        edges = [-6 + 0.25 * i for i in range(25)]
        counts = [round(900 * math.exp(-((edge + 3.4) ** 2)) + 60 * math.exp(-8 * (edge + 0.8) ** 2)) for edge in edges]
        return charts.histogram(edges, counts[:-1], x="log₁₀ of the share of tokens it fires on")
    if name == "scatter":
        density = [10 ** (-5 * _noise(i)) for i in range(2_000)]
        p99 = [2 + 6 * _noise(i + 5_000) * (1 - math.log10(density[i]) / 6) for i in range(2_000)]
        names = [f"feature {i}" for i in range(2_000)]
        return charts.scatter(density, p99, names, x="density", y="99th percentile when firing", log=True)
    if name == "none":
        return charts.histogram([0, 1], [0], x="score")
    return None


def _noise(i: int) -> float:
    """Between 0 and 1, without a pattern one would see."""
    return math.modf(math.sin(i * 12.9898 + 4.1414) * 43758.5453)[0] % 1
