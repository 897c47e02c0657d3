"""How fast evidence becomes rows, and how much room they take: `python -m benchmarks.load`.

Synthetic evidence with every group of examples there is (20 strongest contexts, 20 with distinct windows, five
intervals of five, a strip of ten, five near misses), 40 logits, 16 neighbours, and contexts of 128 tokens in which a
latent fires 6 times (`--firings 24` for more), is loaded into an embedded PostgreSQL of the benchmark's own. Bytes are
those of tables, TOAST and indexes, over the features; the contexts, which all SAEs share, are told apart.

With `--features 1000000` it takes some minutes and some GB of disk, and as much memory as ever.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine, servers, synthetic

GROUPS = ("feature", "activity", "examples", "tokenindex")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=20_000)
    parser.add_argument("--firings", type=int, nargs="+", default=[6, 24], help="in a context")
    given = parser.parse_args()
    load, on = machine.OtherLoad(), machine.describe()
    with servers.data_folder() as places, servers.postgres(places):
        os.environ.update(servers.environment(places, "explorer.settings"))
        found = [_measure(places.data, given.features, firings) for firings in given.firings]
    busy = load.share()
    print(f"{machine.in_words(on)}; other load took {busy:.0%} of it; {given.features:,} features\n")
    print(f"{'firings':>8}{'features/s':>12}{'bytes each':>12}{'of examples':>13}{'dropped in':>12}{'memory, MB':>12}")
    for each in found:
        print(
            f"{each['firings']:>8}{each['features_per_second']:>12,.0f}{each['bytes_per_feature']:>12,.0f}"
            f"{each['bytes']['examples'] / given.features:>13,.0f}{each['seconds_drop']:>10.2f} s"
            f"{each['memory_bytes'] / 1e6:>12.0f}"
        )
    print(f"contexts take {found[0]['bytes_per_context']:.0f} bytes each, once")
    print(
        json.dumps({"benchmark": "load", "machine": on, "other_load": busy, "features": given.features, "runs": found})
    )
    return 0


def _measure(data: Path, n: int, firings: int) -> dict[str, Any]:
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks import load_rows

    call_command("migrate", verbosity=0, interactive=False)
    with tempfile.TemporaryDirectory(dir=data) as made:
        folder = Path(made)
        evidence = synthetic.evidence(folder, n, firings)
        corpus = load_rows.corpus(synthetic.corpus(folder))
        before = _private_memory()
        with _peak_of_private_memory() as peak:
            started = time.perf_counter()
            collection = load_rows.collection(n, firings, corpus, evidence)
            seconds = time.perf_counter() - started
        sizes = load_rows.sizes(collection)
        started = time.perf_counter()
        load_rows.drop(collection)
        dropped = time.perf_counter() - started
    return {
        "firings": firings,
        "seconds": seconds,
        "features_per_second": n / seconds,
        "bytes": {name: sizes[name] for name in GROUPS},
        "bytes_per_feature": sum(sizes[name] for name in GROUPS) / n,
        "bytes_per_context": sizes["context"] / synthetic.CONTEXTS,
        "seconds_drop": dropped,
        "memory_bytes": max(peak) - before,
    }


@contextmanager
def _peak_of_private_memory() -> Iterator[list[int]]:
    """What was seen of it, time and again."""
    seen, done = [_private_memory()], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            seen.append(_private_memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _private_memory() -> int:
    """Pages of mapped files, which the system takes back at will, are left out."""
    told = psutil.Process().memory_info()
    return int(told.rss - getattr(told, "shared", 0))


if __name__ == "__main__":
    sys.exit(main())
