"""Two batch workers against one on the same collection: `python -m benchmarks.shards`.

An SAE of the demo is read over the demo's text in eight parts, by workers of the explorer with a PostgreSQL of the
benchmark's own: in turns by one worker, while the other is stopped, and by two. Torch would use all cores by itself, so
each worker has one thread, and the comparison is of workers. The parts are what is shared out; putting them together
and loading the rows is one worker's, which "whole" has as well. The evidence must be the same to the last byte.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks import machine, servers
from explorer.places import Places
from explorer.supervisor.leash import dying_with_parent

if TYPE_CHECKING:
    from benchmarks import shards_jobs

SETTINGS = "explorer.settings"
WORKERS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contexts", type=int, default=1024, help="of 128 tokens")
    given = parser.parse_args()
    load, on = machine.OtherLoad(), machine.describe()
    os.environ["OMP_NUM_THREADS"] = "1"
    with servers.data_folder() as places, servers.postgres(places):
        os.environ.update(servers.environment(places, SETTINGS))
        rounds = _measure(places, given.rounds, given.contexts)
    busy = load.share()
    print(
        f"{machine.in_words(on)}; other load took {busy:.0%} of it; {given.contexts * 128:,} tokens, "
        f"medians of {given.rounds} rounds\n"
    )
    print(f"{'':>16}{'one worker':>12}{'two':>10}{'ratio':>8}")
    ratios = {}
    for what in ("parts", "whole"):
        one, two = (statistics.median(each[number][what] for each in rounds) for number in ("one", "two"))
        ratios[what] = statistics.median(each["one"][what] / each["two"][what] for each in rounds)
        print(f"{what:>16}{one:>10.2f} s{two:>8.2f} s{ratios[what]:>8.2f}")
    evidence = {run["evidence"] for each in rounds for run in each.values()}
    print("the same evidence each time" if len(evidence) == 1 else f"{len(evidence)} DIFFERENT EVIDENCES")
    told = {"benchmark": "shards", "machine": on, "other_load": busy, "contexts": given.contexts}
    print(json.dumps(told | {"ratios": ratios, "same_evidence": len(evidence) == 1, "rounds": rounds}))
    return 0 if len(evidence) == 1 else 1


def _measure(places: Places, rounds: int, contexts: int) -> "list[dict[str, shards_jobs.Run]]":
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks import shards_jobs

    call_command("migrate", verbosity=0, interactive=False)
    added = shards_jobs.add()
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(places, number)) for number in range(WORKERS)]
        shards_jobs.warm_up(added, WORKERS)
        found = []
        for _ in range(rounds):
            with _stopped(workers[1]):
                one = shards_jobs.collect(added, contexts)
            found.append({"one": one, "two": shards_jobs.collect(added, contexts)})
    return found


@contextmanager
def _worker(places: Places, number: int) -> "Iterator[subprocess.Popen[bytes]]":
    with (places.log / f"worker-{number}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", "batch"],
            cwd=servers.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_parent(signal.SIGKILL),
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _stopped(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
