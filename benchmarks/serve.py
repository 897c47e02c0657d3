"""How fast features are shown, listed and found: `python -m benchmarks.serve`.

An SAE of 100,000 made-up features (`--features`), each with every group of examples there is, 10,000 of them labelled,
is served by the real server out of the embedded PostgreSQL, all on this machine, to a viewer who is signed in.

- A feature's page by `wrk` over 8 connections: cold, each feature for the first time since the server started; warm,
  one that was seen before, asked for without its ETag; and as a 304. Beside it the floors of `web_floor`: a ready-made
  page of 1,280 tokens and an empty 304, in turns.
- The browser in every sort, both ways, at its beginning and deep within, with filters; and searches: one connection,
  one request after the other, each address asked for once.
"""

import argparse
import http.client
import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks import machine, servers, wrk
from benchmarks.serve_addresses import Address, addresses
from benchmarks.servers import Serving
from benchmarks.web_floor import CHOSEN, PROCESSES
from benchmarks.wrk import Load, NotMeasured

COLD_PER_SECOND = 3000  # addresses given to a walk, more than can be answered
SEEN_BEFORE = 30  # times
BARS = {"cold": 60.0, "cold_p95_ms": 150.0, "warm": 0.8, "not_modified": 0.8}
READY_MADE, EMPTY_304 = "/benchmark/ready-made/", "/benchmark/not-modified/"


@dataclass(frozen=True)
class Site:
    cookie: str
    sae: str
    lm: str
    features: int


@dataclass
class Rounds:
    cold: list[Load] = field(default_factory=list)
    warm: list[Load] = field(default_factory=list)
    not_modified: list[Load] = field(default_factory=list)
    ready_made: list[Load] = field(default_factory=list)
    empty_304: list[Load] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each run of wrk")
    parser.add_argument("--repeats", type=int, default=20, help="requests of each kind of list and search")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wrk.find()
        load = machine.OtherLoad()
        with _served(asked.features) as (server, site):
            rounds = _pages(server, site, asked.rounds, asked.seconds)
            lists = _lists(server, site, asked.repeats)
        _print(site, rounds, lists, load.share())
    except NotMeasured as why:
        print(f"serve: {why}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _served(features: int) -> Iterator[tuple[Serving, Site]]:
    with servers.data_folder() as places, servers.postgres(places):
        variables = servers.environment(places, "benchmarks.web_floor_settings")
        _say(f"making and loading {features:,} features")
        site = _prepare(variables, features)
        log = places.log / "web.log"
        with servers.serving(CHOSEN.words, log, variables, inherits=CHOSEN.inherits, processes=PROCESSES) as server:
            server.wait()
            yield server, site


def _prepare(variables: dict[str, str], features: int) -> Site:
    command = [sys.executable, "-m", "benchmarks.serve_inside", str(features)]
    done = subprocess.run(command, cwd=servers.ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"preparing the site failed:\n{done.stderr}")
    return Site(**json.loads(done.stdout.splitlines()[-1]))


def _pages(server: Serving, site: Site, rounds: int, seconds: int) -> Rounds:
    headers = {"Cookie": site.cookie}
    pages = random.Random(0).sample(range(site.features), site.features)
    share = min(COLD_PER_SECOND * seconds, (len(pages) - 1) // (rounds + 1))
    warm = f"/saes/{site.sae}/features/{pages.pop()}/"
    etag = _etag(server.port, warm, headers)
    found = Rounds()
    for number in range(rounds + 1):
        here, pages = pages[:share], pages[share:]
        paths = [f"/saes/{site.sae}/features/{index}/" for index in here]
        cold = wrk.walk(server.port, paths, headers, seconds=seconds, shared=server.shared_out)
        others = [
            _load(server, path, headers | more, seconds)
            for path, more in (
                (warm, {}),
                (READY_MADE, {}),
                (warm, {"If-None-Match": etag}),
                (EMPTY_304, {"If-None-Match": '"floor"'}),
            )
        ]
        if not number:
            continue  # it warmed up
        found.cold.append(cold)
        for loads, load in zip(
            (found.warm, found.ready_made, found.not_modified, found.empty_304), others, strict=True
        ):
            loads.append(load)
        _say(f"round {number} of {rounds} done")
    return found


def _load(server: Serving, path: str, headers: dict[str, str], seconds: int) -> Load:
    for _ in range(SEEN_BEFORE):  # each process has made it by then, and answers with what it made
        expected = wrk.ask(server.port, path, headers)
    if expected.status != (304 if "If-None-Match" in headers else 200):
        raise NotMeasured(f"{path}: {expected.status} came")
    return wrk.load(server.port, path, headers, seconds=seconds, expected=expected, shared=server.shared_out)


def _etag(port: int, path: str, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wrk.PATIENCE)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200 or not answer.headers["ETag"]:
        raise NotMeasured(f"{path}: {answer.status}, with ETag {answer.headers['ETag']}")
    return str(answer.headers["ETag"])


def _lists(server: Serving, site: Site, repeats: int) -> dict[str, dict[str, float]]:
    """Of every kind of address the median and the 95th percentile in ms."""
    kinds: dict[str, list[Address]] = {}
    for address in addresses(site.sae, site.lm, site.features, repeats):
        kinds.setdefault(address.kind, []).append(address)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    found = {}
    for kind, asked in kinds.items():
        _ask(connection, asked[0], site.cookie)  # what only a first one of its kind does is left out
        times = sorted(_ask(connection, address, site.cookie) for address in asked[1:])
        found[kind] = {"median_ms": statistics.median(times), "p95_ms": times[int(0.95 * (len(times) - 1) + 0.5)]}
    connection.close()
    return found


def _ask(connection: http.client.HTTPConnection, address: Address, cookie: str) -> float:
    started = time.perf_counter()
    connection.request("GET", address.path, headers={"Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - started) * 1e3
    if answer.status != 200 or address.wanted.encode() not in body:
        raise NotMeasured(f"{address.path}: {answer.status}, without {address.wanted!r}")
    return took


def _print(site: Site, rounds: Rounds, lists: dict[str, dict[str, float]], busy: float) -> None:
    on, pages = machine.describe(), _figures(rounds)
    print(f"{machine.in_words(on)}; other load took {busy:.0%} of it; {site.features:,} features")
    print(f"{len(rounds.cold)} rounds, medians; 8 connections\n")
    for name, each in pages.items():
        over = f"   {each['ratio']:.2f} of its floor" if "ratio" in each else ""
        print(f"  {name:<14}{each['per_second']:>8,.0f}/s   p95 {each['p95_ms']:>7.1f} ms{over}")
    print(f"\none after the other{'':<27}{'median':>9}{'p95':>9}")
    for kind, took in lists.items():
        print(f"  {kind:<44}{took['median_ms']:>6.1f} ms{took['p95_ms']:>6.1f} ms")
    print(json.dumps({
        "benchmark": "serve", "machine": on, "other_load": busy, "features": site.features, "pages": pages,
        "bars": BARS, "lists": lists,
    }))  # fmt: skip


def _figures(rounds: Rounds) -> dict[str, dict[str, float]]:
    def of(loads: Sequence[Load], floor: Sequence[Load] | None = None) -> dict[str, Any]:
        figures = {
            "per_second": statistics.median(load.requests_per_second for load in loads),
            "p95_ms": statistics.median(load.p95_ms for load in loads),
        }
        if floor:
            pairs = zip(loads, floor, strict=True)
            figures["ratio"] = statistics.median(a.requests_per_second / b.requests_per_second for a, b in pairs)
        return figures

    return {
        "cold": of(rounds.cold),
        "warm": of(rounds.warm, rounds.ready_made),
        "ready-made": of(rounds.ready_made),
        "304": of(rounds.not_modified, rounds.empty_304),
        "empty 304": of(rounds.empty_304),
    }


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
