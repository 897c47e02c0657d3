"""What the tests' jobs do. Each writes where it was in a file, so that a test sees what really ran."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from explorer.actions.jobs import Child
from explorer.work.attempt import Attempt, Refused


def count(attempt: Attempt) -> dict[str, int]:
    """Adds 1 … n, a pause after each, and leaves a line for each in `trace`."""
    total = 0
    for number in attempt.steps(range(1, attempt.arguments["n"] + 1), total=attempt.arguments["n"], unit="numbers"):
        total += number
        _trace(attempt, str(number))
        time.sleep(attempt.arguments.get("pause", 0))
    return {"sum": total}


def open_sae(attempt: Attempt) -> dict[str, int]:
    """Loads it and its lm, and all that reading takes in the way of code."""
    import explorer.work.collect  # noqa: F401 # a part's code, with torch
    from explorer.models import Sae
    from explorer.work.opening import lm_of, sae_of

    sae = Sae.objects.get(pk=attempt.arguments["sae"])
    return {"n_latents": sae_of(sae, lm_of(sae.lm)).n_latents}


def plan_parts(attempt: Attempt) -> list[Child]:
    arguments = attempt.arguments
    parts = [
        {"part": part, "n": arguments["n"], "folder": arguments["folder"], "pause": arguments.get("pause", 0)}
        for part in range(arguments["parts"])
    ]
    return [Child("test_part", part, total=arguments["n"], unit="numbers") for part in parts]


def part(attempt: Attempt) -> None:
    """Writes one partial sum, atomically, as a shard does."""
    arguments = attempt.arguments
    total = 0
    for number in attempt.steps(range(arguments["n"]), total=arguments["n"], unit="numbers"):
        total += arguments["part"] * arguments["n"] + number
        time.sleep(arguments["pause"])
    folder = Path(arguments["folder"])
    draft = folder / f".{arguments['part']}-{attempt.job.attempt}"
    draft.write_text(str(total))
    draft.rename(folder / f"part-{arguments['part']}")


def add_up(attempt: Attempt) -> dict[str, int]:
    folder = Path(attempt.arguments["folder"])
    return {"sum": sum(int(path.read_text()) for path in folder.glob("part-*"))}


def stream(attempt: Attempt) -> dict[str, int]:
    """Emits n words; leaves a line for each, with the time, in `trace`."""
    words = attempt.arguments["n"]
    for number in range(words):
        attempt.emit(f"{attempt.arguments.get('word', 'w')}{number} ")
        _trace(attempt, f"{time.time():.3f}")
        time.sleep(attempt.arguments.get("pause", 0))
    return {"words": words}


def die(attempt: Attempt) -> None:
    _trace(attempt, str(attempt.job.attempt))
    os.kill(os.getpid(), signal.SIGKILL)


def fail(attempt: Attempt) -> None:
    attempt.emit("before it fails")
    raise RuntimeError("no \x00 such \ud800 thing")


def refuse(attempt: Attempt) -> None:
    raise Refused("layer_3.safetensors: W_dec is (768, 4096), expected (4096, 768); is it transposed?")


def deaf(attempt: Attempt) -> str:
    """Looks at nothing for a while, then writes: what a stale attempt would do."""
    _trace(attempt, "asleep")
    time.sleep(attempt.arguments["seconds"])
    attempt.emit("written by a deaf body")
    with attempt.transaction():
        attempt.job.message = "written by a deaf body"
        attempt.job.save(update_fields=["message"])
    return "done by a deaf body"


def _trace(attempt: Attempt, line: str) -> None:
    trace: Any = attempt.arguments.get("trace")
    if trace:
        with Path(trace).open("a") as file:
            file.write(line + "\n")
