"""How fast is scoring for 50 annotators at once: `python -m benchmarks.score`.

Studies of 400 items with three seats each, each item with as much to look at as there is at most, are scored over HTTP
from what `manage.py up` starts, all on this machine. An annotator does what the page does: opens an item, keeps what is
typed, says what it is, keeps and reveals, submits, and is led to the next.

- With pauses: before whatever somebody does they think for 4 to 8 seconds, 24 an item, as those do who read quickly. So
  50 people ask for an item every half second. This is held against the bars.
- Without any: each does the next thing as soon as the answer is there, until every seat is filled. 50 requests are
  always waiting then, so it says how much can be done in a second, and how long one waits is 50 divided by that.

`submit` is the request that keeps a score and claims the item after it, up to its answer; `next item` is from sending
that up to the last byte of the item's page.
"""

import argparse
import http.client
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from benchmarks import machine, servers
from benchmarks.wrk import NotMeasured

BARS = {"next item": 150.0, "submit": 100.0}  # ms, 95th percentiles
ANNOTATORS, PER_ITEM, PAUSE = 50, 3, (4.0, 8.0)  # seconds
KEPT_OPEN = 2.0  # seconds; a web process hangs up on whoever has been silent for five
WARMING = 0.1  # of the time, not counted
CLAIMS = 30  # by somebody who is alone
POINTS = {
    "points_confidence": 2, "points_activations": 4, "points_specificity": 2, "points_logits": 2, "points_gap": 1,
}  # fmt: skip
FORM = re.compile(r'name="form" value="([0-9a-f-]+)"')
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Open:
    """A study, and how annotators are signed in."""

    study: int
    token: str
    cookies: list[str]

    @property
    def home(self) -> str:
        return f"/score/{self.study}/"


@dataclass
class Measured:
    began: float = field(default_factory=time.perf_counter)
    took: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))  # when, ms
    seconds: float = 0.0

    def add(self, what: str, started: float) -> None:
        now = time.perf_counter()
        self.took[what].append((now - self.began, (now - started) * 1000))

    def figures(self) -> Figures:
        found = {}
        for what, all_times in self.took.items():
            times = sorted(ms for when, ms in all_times if when > WARMING * self.seconds)
            if times:
                p95 = times[int(0.95 * (len(times) - 1) + 0.5)]
                found[what] = {"n": len(times), "p50_ms": statistics.median(times), "p95_ms": p95, "most_ms": times[-1]}
        return found


@dataclass(frozen=True)
class Run:
    figures: Figures
    items_per_minute: float
    requests_per_second: float
    seats: dict[str, int]
    other_load: float


class Browser:
    """One annotator's."""

    def __init__(self, port: int, opened: Open, cookie: str, measured: Measured) -> None:
        self._client = http.client.HTTPConnection("127.0.0.1", port, timeout=servers.START_PATIENCE)
        self._headers = {"Cookie": cookie, "X-CSRFToken": opened.token}
        self.measured = measured
        self._last = time.perf_counter()

    def get(self, what: str, path: str) -> str:
        return self._ask(what, "GET", path, None, expected=200)[1]

    def post(self, what: str, path: str, expected: int = 302, **form: object) -> str:
        """Where that leads."""
        return self._ask(what, "POST", path, urlencode(form), expected)[0]

    def _ask(self, what: str, method: str, path: str, body: str | None, expected: int) -> tuple[str, str]:
        kind = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        started = time.perf_counter()
        if started - self._last > KEPT_OPEN:
            self._client.close()  # the next request opens another, as a browser's does
        try:
            self._client.request(method, path, body, self._headers | kind)
            answer = self._client.getresponse()
            page = answer.read().decode()
        except OSError as broken:
            after = (time.perf_counter() - started) * 1000
            raise NotMeasured(f"{method} {path}: the connection broke after {after:.0f} ms: {broken}") from broken
        self._last = time.perf_counter()
        self.measured.add(what, started)
        if answer.status != expected:
            raise NotMeasured(f"{method} {path}: {answer.status}, where {expected} was expected:\n{page[-500:]}")
        return answer.headers.get("Location", ""), page

    def close(self) -> None:
        self._client.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=120, help="of scoring with pauses")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with servers.up() as (port, variables):
            first, second = (_opened(variables, asked.items) for _ in range(2))
            alone = _alone(port, first)
            paused = _scored(port, variables, first, PAUSE, asked.seconds)
            unpaused = _scored(port, variables, second, None, None)
        _require(unpaused.seats["filled"] == unpaused.seats["seats"], "seats were left over", unpaused.seats)
        _print(asked.items, alone, paused, unpaused)
    except NotMeasured as why:
        print(f"score: {why}", file=sys.stderr)
        return 1
    return 0


def _opened(variables: dict[str, str], items: int) -> Open:
    return Open(**_inside(variables, "open", items, PER_ITEM, ANNOTATORS))


def _inside(variables: dict[str, str], *words: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.score_inside", *map(str, words)]
    done = subprocess.run(command, cwd=servers.ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"{command[-len(words) :]} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _alone(port: int, opened: Open) -> Figures:
    """Of an annotator without others: being led to a seat that they have, and to one that is claimed."""
    with closing(Browser(port, opened, opened.cookies[0], Measured())) as browser:
        for _ in range(CLAIMS):
            browser.post("to a new seat", f"{opened.home}next/")
            browser.post("to their own seat", f"{opened.home}next/")
            browser.post("leave", f"{opened.home}leave/")
        return browser.measured.figures()


def _scored(
    port: int, variables: dict[str, str], opened: Open, pause: tuple[float, float] | None, seconds: float | None
) -> Run:
    """By all at once, for so long or until nothing is left."""
    load, measured = machine.OtherLoad(), Measured()
    until = measured.began + seconds if seconds else float("inf")

    def score(number: int) -> None:
        dice = random.Random(number)
        with closing(Browser(port, opened, opened.cookies[number], measured)) as browser:
            _score(browser, opened, lambda: time.sleep(dice.uniform(*pause)) if pause else None, until)

    with ThreadPoolExecutor(ANNOTATORS) as threads:
        list(threads.map(score, range(ANNOTATORS)))
    measured.seconds = time.perf_counter() - measured.began
    seats = _inside(variables, "count", opened.study)
    submitted = len(measured.took["submit"])
    told = {seats[what] for what in ("filled", "filled_by_a_score", "scored", "scores")}
    _require(told == {submitted}, f"{submitted} were submitted", seats)
    requests = sum(len(times) for what, times in measured.took.items() if what != "next item")
    per_minute = 60 * submitted / measured.seconds
    return Run(measured.figures(), per_minute, requests / measured.seconds, seats, load.share())


def _score(browser: Browser, opened: Open, think: Callable[[], None], until: float) -> None:
    think()
    address = browser.post("begin", f"{opened.home}next/")
    page = browser.get("item", address)
    while address != opened.home and time.perf_counter() < until:
        if 'class="saying"' in page:
            think()
            browser.post("save", f"{address}save/", 200, hypothesis="it is a")
            think()
            browser.post("say", f"{address}say/", hypothesis="it is a word before a noun")
            page = browser.get("item, said", address)
        if f"{address}reveal/" in page:
            think()
            browser.post("save", f"{address}save/", 200, points_confidence=2)
            think()
            browser.post("reveal", f"{address}reveal/", **POINTS)
            page = browser.get("item, revealed", address)
        think()
        (form,) = set(FORM.findall(page))
        started = time.perf_counter()
        address = browser.post("submit", f"{address}submit/", form=form, **POINTS)
        page = browser.get("item" if address != opened.home else "end", address)
        if address != opened.home:
            browser.measured.add("next item", started)


def _require(met: bool, what: str, seats: Mapping[str, int]) -> None:
    if not met:
        raise NotMeasured(f"{what}: {json.dumps(seats)}")


def _print(items: int, alone: Figures, paused: Run, unpaused: Run) -> None:
    on = machine.describe()
    print(f"{machine.in_words(on)}; {ANNOTATORS} annotators, {items} items of {PER_ITEM} seats")
    for title, run in {"with pauses": paused, "without": unpaused}.items():
        rates = f"{run.items_per_minute:,.0f} items a minute, {run.requests_per_second:,.0f} requests a second"
        seats = f"{run.seats['filled']} of {run.seats['seats']} seats filled"
        print(f"\n{title}: {rates}; {seats}; other load {run.other_load:.0%}")
        _rows(run.figures)
    print("\nalone")
    _rows(alone)
    print(json.dumps({
        "benchmark": "score", "machine": on, "annotators": ANNOTATORS, "items": items, "per_item": PER_ITEM,
        "pause_s": PAUSE, "paused": vars(paused), "unpaused": vars(unpaused), "alone": alone, "bars_p95_ms": BARS,
        "held_against_them": {what: paused.figures[what]["p95_ms"] for what in BARS},
    }))  # fmt: skip


def _rows(figures: Figures) -> None:
    for what, each in figures.items():
        bar = f"   wanted {BARS[what]:.0f} ms" if what in BARS else ""
        print(f"  {what:<20}{each['n']:>7.0f}{each['p50_ms']:>9.1f} ms{each['p95_ms']:>9.1f} ms{bar}")


if __name__ == "__main__":
    sys.exit(main())
