"""How fast a signed-in page can be: `python -m benchmarks.web_floor`.

An empty page, an empty 304 and a ready-made page of 1,280 tokens through the real server, beside the
same through other servers. The arrangements and pages take turns, round after round, so that a
moment of other load does not fall on one of them alone; figures are medians over the rounds, and
ratios are medians of the ratios within a round.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import machine, servers, wrk
from benchmarks.servers import Serving
from benchmarks.wrk import Answer, Load, NotMeasured

PROCESSES = 2
STREAMS, LEAST_WITH_STREAMS = 100, 0.8  # idle ones, and the ratio they must leave
WARM_UP = 1  # seconds of load on every page before the first round


@dataclass(frozen=True)
class Arrangement:
    name: str
    package: str
    about: str
    command: str  # of {python}, {port}, or {fd}, {seats}, {seat}
    inherits: bool = False  # each of its processes the listening socket, and the count of what all have

    def words(self, **values: int) -> list[str]:
        return [word.format(python=sys.executable, **values) for word in self.command.split()]


CHOSEN = Arrangement(
    "web",
    "uvicorn",
    "2 × manage.py web: uvicorn, pages by Django's WSGI handler in 4 threads, streams by ASGI",
    "{python} manage.py web --fd {fd} --seats {seats} --seat {seat}",
    inherits=True,
)
ALTERNATIVES = (
    Arrangement(
        "uvicorn-asgi",
        "uvicorn",
        "2 × uvicorn with Django's ASGI handler for everything",
        "{python} -m uvicorn benchmarks.web_floor_alternatives:asgi --port {port} --workers 2 --lifespan off "
        "--no-access-log --log-level warning --no-proxy-headers --no-server-header",
    ),
    Arrangement(
        "gunicorn-gthread",
        "gunicorn",
        "gunicorn, 2 processes × 4 threads, WSGI (no streams)",
        "{python} -m gunicorn benchmarks.web_floor_alternatives:wsgi --bind 127.0.0.1:{port} --workers 2 "
        "--worker-class gthread --threads 4 --log-level warning",
    ),
    Arrangement(
        "granian-wsgi",
        "granian",
        "granian, 2 processes × 4 blocking threads, WSGI (no streams)",
        "{python} -m granian benchmarks.web_floor_alternatives:wsgi --interface wsgi --host 127.0.0.1 --port {port} "
        "--workers 2 --blocking-threads 4 --no-ws --log-level warning",
    ),
)
ARRANGEMENTS = (CHOSEN, *ALTERNATIVES)


@dataclass(frozen=True)
class Page:
    name: str
    path: str
    status: int
    least: int  # bytes of its body
    most: int
    headers: tuple[tuple[str, str], ...] = ()


PAGES = (
    Page("empty", "/benchmark/empty/", 200, 0, 0),
    Page("not_modified", "/benchmark/not-modified/", 304, 0, 0, (("If-None-Match", '"floor"'),)),
    Page("ready_made", "/benchmark/ready-made/", 200, 150_000, 200_000),
)
WITH_STREAMS = f"empty_with_{STREAMS}_streams"


@dataclass(frozen=True)
class Site:
    cookie: str
    job: int
    milliseconds: dict[str, float]


@dataclass
class Contender:
    arrangement: Arrangement
    server: Serving
    site: Site
    rounds: dict[str, list[Load]]  # by page

    def take(self, page: Page, seconds: int) -> Load:
        """One run between two plain requests that get what they should."""
        headers = {"Cookie": self.site.cookie, **dict(page.headers)}
        expected = self._ask(page, headers)
        load = wrk.load(
            self.server.port, page.path, headers, seconds=seconds, expected=expected, shared=self.server.shared_out
        )
        self._ask(page, headers)
        return load

    def take_with_streams(self, seconds: int) -> Load:
        path = f"/events/?job={self.site.job}"
        with servers.idle_streams(self.server.port, path, self.site.cookie, STREAMS) as streams:
            load = self.take(PAGES[0], seconds)
            streams.require_open()
        return load

    def _ask(self, page: Page, headers: dict[str, str]) -> Answer:
        answer = wrk.ask(self.server.port, page.path, headers)
        if answer.status != page.status or not page.least <= len(answer.body) <= page.most:
            raise NotMeasured(
                f"{self.arrangement.name}, {page.path}: {page.status} with {page.least} to {page.most} bytes was "
                f"expected, {answer.status} with {len(answer.body)} came; the log ends with:\n{self.server.said}"
            )
        return answer


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wrk.find()
        chosen, missing = _installed(asked.only)
        with _contenders(chosen) as (contenders, site):
            other_load = _measure(contenders, asked.rounds, asked.seconds)
        _print(contenders, missing, site, other_load, asked.seconds)
    except NotMeasured as why:
        print(f"web_floor: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("web_floor: stopped; nothing is left running", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_floor", description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=3, help="of each run of wrk (default 3)")
    parser.add_argument("--rounds", type=_positive, default=5, help="default 5")
    names = [arrangement.name for arrangement in ARRANGEMENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1 is wanted")
    return number


def _installed(names: Sequence[str]) -> tuple[list[Arrangement], list[Arrangement]]:
    wanted = [arrangement for arrangement in ARRANGEMENTS if arrangement.name in names]
    missing = [arrangement for arrangement in wanted if not importlib.util.find_spec(arrangement.package)]
    return [arrangement for arrangement in wanted if arrangement not in missing], missing


# Measuring


@contextmanager
def _contenders(arrangements: Sequence[Arrangement]) -> Iterator[tuple[list[Contender], Site]]:
    """All servers at once, on one database; only one of them is asked at a time."""
    with servers.data_folder() as places, servers.postgres(places), ExitStack() as stack:
        variables = servers.environment(places, "benchmarks.web_floor_settings")
        _say("preparing a database, static files and a viewer")
        site = _prepare(variables)
        contenders = []
        for arrangement in arrangements:
            log = places.log / f"{arrangement.name}.log"
            _say(f"starting {arrangement.name}")
            serving = servers.serving(
                arrangement.words, log, variables, inherits=arrangement.inherits, processes=PROCESSES
            )
            server = stack.enter_context(serving)
            server.wait()
            contenders.append(Contender(arrangement, server, site, {}))
        yield contenders, site


def _prepare(variables: dict[str, str]) -> Site:
    command = [sys.executable, "-m", "benchmarks.web_floor_inside"]
    done = subprocess.run(command, cwd=servers.ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"preparing the site failed:\n{done.stderr}")
    return Site(**json.loads(done.stdout.splitlines()[-1]))


def _measure(contenders: Sequence[Contender], rounds: int, seconds: int) -> list[float]:
    """Fills every contender's rounds; returns each round's share of other load on the machine."""
    _say("warming up")
    for contender in contenders:
        for page in PAGES:
            contender.take(page, WARM_UP)
    shares = []
    for number in range(1, rounds + 1):
        other_load = machine.OtherLoad()
        for page in PAGES:
            for contender in contenders:
                contender.rounds.setdefault(page.name, []).append(contender.take(page, seconds))
                if contender.arrangement is CHOSEN and page is PAGES[0]:
                    contender.rounds.setdefault(WITH_STREAMS, []).append(contender.take_with_streams(seconds))
        shares.append(other_load.share())
        _say(f"round {number} of {rounds} done; other load took {shares[-1]:.0%} of the machine")
    return shares


# Telling


def _print(
    contenders: Sequence[Contender],
    missing: Sequence[Arrangement],
    site: Site,
    other_load: Sequence[float],
    seconds: int,
) -> None:
    on, rounds, ratios = machine.describe(), len(other_load), _ratios(contenders)
    print(f"{machine.in_words(on)}; other load took {min(other_load):.0%} to {max(other_load):.0%} of it in a round")
    print(f"wrk, {wrk.CONNECTIONS} connections, {rounds} rounds of {seconds} s; medians, lowest to highest in brackets")
    for contender in contenders:
        _print_contender(contender)
    for arrangement in missing:
        print(f"\n{arrangement.name}: left out, as {arrangement.package} is not installed (pip install -e '.[bench]')")
    print()
    for over, by_page in ratios.items():
        print(f"web over {over}: " + ", ".join(f"{page} {ratio:.2f}" for page, ratio in by_page.items()))
        if WITH_STREAMS in by_page:
            print(f"    (at least {LEAST_WITH_STREAMS:.2f} is wanted; no stream was refused or closed)")
    print("\nAn empty signed-in page in one process, without a server:")
    for part, took in site.milliseconds.items():
        print(f"  {part:<44}{took:>6.2f} ms")
    found = {
        "benchmark": "web_floor",
        "machine": on,
        "seconds": seconds,
        "rounds": rounds,
        "connections": wrk.CONNECTIONS,
        "arrangements": {contender.arrangement.name: _medians(contender) for contender in contenders},
        "left_out": [arrangement.name for arrangement in missing],
        "ratios": ratios,
        "other_load": other_load,
        "milliseconds": site.milliseconds,
        "versions": _versions(),
    }
    print(json.dumps(found))


def _print_contender(contender: Contender) -> None:
    print(f"\n{contender.arrangement.name}: {contender.arrangement.about}")
    for page, loads in contender.rounds.items():
        rates = [load.requests_per_second for load in loads]
        p95 = statistics.median(load.p95_ms for load in loads)
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        lopsided = sum(load.lopsided for load in loads)
        again = f"   {lopsided} of {lopsided + len(loads)} starts lopsided" if lopsided else ""
        print(f"  {page:<24}{statistics.median(rates):>8,.0f}/s {spread:<20} p95 {p95:>6.1f} ms{again}")


def _medians(contender: Contender) -> dict[str, dict[str, Any]]:
    return {
        page: {
            "requests_per_second": statistics.median(load.requests_per_second for load in loads),
            "p95_ms": statistics.median(load.p95_ms for load in loads),
            "rounds": [load.requests_per_second for load in loads],
            "lopsided_starts": sum(load.lopsided for load in loads),
        }
        for page, loads in contender.rounds.items()
    }


def _ratios(contenders: Sequence[Contender]) -> dict[str, dict[str, float]]:
    """Of the chosen arrangement over each other one, and of itself with streams over without."""
    by_name = {contender.arrangement.name: contender.rounds for contender in contenders}
    chosen = by_name.pop(CHOSEN.name, None)
    if chosen is None:
        return {}
    ratios = {
        name: {page.name: _ratio(chosen[page.name], other[page.name]) for page in PAGES}
        for name, other in by_name.items()
    }
    without = PAGES[0].name
    return ratios | {"itself without streams": {WITH_STREAMS: _ratio(chosen[WITH_STREAMS], chosen[without])}}


def _ratio(ours: Sequence[Load], theirs: Sequence[Load]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(our.requests_per_second / their.requests_per_second for our, their in pairs)


def _versions() -> dict[str, str]:
    names = ("django", "psycopg", "uvicorn", "gunicorn", "granian")
    return {name: importlib.metadata.version(name) for name in names if importlib.util.find_spec(name)}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
