"""The kinds of job there are: what the web process must know of them without importing their bodies."""

from dataclasses import dataclass
from enum import StrEnum


class Queue(StrEnum):
    INTERACTIVE = "interactive"  # somebody waits: steer, search, ablate
    BATCH = "batch"  # nobody waits: train, collect, map


@dataclass(frozen=True)
class Kind:
    name: str
    title: str  # as a person reads it in a list
    queue: Queue
    body: str  # "module.function", imported by a worker alone; takes an Attempt, returns a result or None
    plan: str = ""  # "module.function" that returns the children; the body then follows them
    watched: bool = False  # stops when nobody looks at its stream


_KINDS: dict[str, Kind] = {}


def register(*kinds: Kind) -> None:
    for kind in kinds:
        if _KINDS.setdefault(kind.name, kind) != kind:
            raise ValueError(f"two kinds of job are called {kind.name!r}")


def get(name: str) -> Kind:
    if name not in _KINDS:
        raise LookupError(f"no kind of job is called {name!r}; there are {', '.join(sorted(_KINDS))}")
    return _KINDS[name]


def title(name: str) -> str:
    """A row may outlive its kind."""
    return _KINDS[name].title if name in _KINDS else name


register(
    Kind("diagnose", "Check this installation", Queue.INTERACTIVE, "explorer.work.diagnose.run"),
    Kind("explore", "Add an SAE", Queue.BATCH, "explorer.work.explore.run"),
    Kind("collect", "Collect", Queue.BATCH, "explorer.work.collect.run", plan="explorer.work.collect.plan"),
    Kind("collect_part", "Read a part of the text", Queue.BATCH, "explorer.work.collect.read_part"),
    Kind("demo", "Fill the library with the demo", Queue.BATCH, "explorer.work.demo.run"),
    Kind("read_text", "Read a text", Queue.INTERACTIVE, "explorer.work.reading_text.run"),
    Kind("unembedding", "Write down what logits are read with", Queue.INTERACTIVE, "explorer.work.unembedding.run"),
    Kind("recompute", "Compute a feature again", Queue.INTERACTIVE, "explorer.work.recompute.run"),
    Kind("ablate", "Ablate a feature", Queue.INTERACTIVE, "explorer.work.ablation.run"),
    Kind("steer", "Steer", Queue.INTERACTIVE, "explorer.work.steering.run", watched=True),
    Kind("strength", "Find how strongly to steer", Queue.INTERACTIVE, "explorer.work.strengths.run"),
    Kind("map", "Make a map", Queue.BATCH, "explorer.work.map.run"),
    Kind("study", "Prepare a study", Queue.BATCH, "explorer.work.study.run"),
    Kind("measure", "Measure an SAE", Queue.BATCH, "explorer.work.measure.run"),
)
