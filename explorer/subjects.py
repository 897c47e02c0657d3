"""What the subjects of a study truly are, for those who may know."""

import re
from collections.abc import Iterator

from explorer.models import Subject
from explorer.models.studies import SubjectKind
from explorer.studies.sampling import How, Sample

# Where the axes of a hookpoint are an MLP's neurons; elsewhere each is a basis dimension.
NEURONS = re.compile(r"mlp\.(hook_post|(c_proj|down_proj|dense_4h_to_h)\.input)")
CONTROLS = (SubjectKind.NEURON, SubjectKind.DIRECTION, SubjectKind.UNTRAINED, SubjectKind.SHUFFLED)
_HOW = {
    How.UNIFORM: "drawn uniformly from those that fire",
    How.DENSITY: "in equal shares of bins of log density",
    How.LIST: "drawn from a list",
    How.FILTER: "drawn from what a filter of the browser finds",
}


def has_neurons(hookpoint: str) -> bool:
    match = NEURONS.search(hookpoint)
    return match is not None and match.end() == len(hookpoint)


def called(kind: str, hookpoint: str) -> str:
    if kind == SubjectKind.NEURON and not has_neurons(hookpoint):
        return "basis dimension"
    return str(SubjectKind(kind).label)


def about(subject: Subject) -> Iterator[tuple[str, str]]:
    """What else is known of a control."""
    for name, value in subject.about.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name.replace("_", " "), str(value)


def how_chosen(sample: Sample) -> str:
    if sample.in_order:
        return "the first that a filter of the browser finds, in its order"
    return _HOW[sample.how]
