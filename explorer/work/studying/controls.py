"""Controls, each paired with a feature: it fires as often, and over the same range of strengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.models import Activity, Collection, Corpus, Sae
from explorer.models.studies import SubjectKind
from explorer.queries import library
from explorer.studies.evidence import Evidence
from explorer.work.attempt import Attempt, Refused
from explorer.work.opening import corpus_of, lm_of, scratch
from explorer.work.studying.freezing import evidence, shuffled
from explorer.work.studying.reading import Latent, collected, figures, latents
from sae_core import Control, ControlKind, collect_evidence, control_sae, matched

CANDIDATES = 6  # of which one becomes a control
WEIGHTS = np.array([2, 3, 2, 2])  # of figures
READ_TOKENS = 1 << 22  # at most, of a text that is longer
KINDS = {SubjectKind.NEURON: ControlKind.NEURON, SubjectKind.DIRECTION: ControlKind.DIRECTION}


@dataclass(frozen=True, slots=True)
class Made:
    """What is scored, and what it truly is."""

    kind: SubjectKind
    n_fired: float  # in all of the collection's text
    evidence: Evidence
    sae: int | None = None
    index: int | None = None
    pair: int | None = None  # the number of a feature
    about: dict[str, Any] | None = None


def pairs(features: Sequence[Latent], wanted: dict[SubjectKind, int], random: Random) -> dict[SubjectKind, list[int]]:
    """For each kind the numbers of features, none twice before each has one."""
    order: list[int] = []
    found: dict[SubjectKind, list[int]] = {}
    for kind, n in wanted.items():
        while len(order) < n:
            order += random.sample(range(len(features)), len(features))
        found[kind], order = order[:n], order[n:]
    return found


def read_controls(
    attempt: Attempt, sae: Sae, collection: Collection, features: Sequence[Latent],
    paired: dict[SubjectKind, list[int]], random: Random,
) -> list[Made]:  # fmt: skip
    """Neurons and directions, found and collected by the pass that features are collected by. Of several for each
    feature the one is taken that fires most like it."""
    wanted = [(kind, number) for kind in KINDS for number in paired.get(kind, ())]
    if not wanted:
        return []
    with corpus_of(collection.corpus) as opened, scratch() as folder:
        lm = lm_of(sae.lm)
        read = int(collection.about["contexts"])
        stop = max(1, min(read, READ_TOKENS // collection.corpus.context_length))
        share, contexts, lengths = stop / read, opened.contexts[:stop], opened.lengths[:stop]
        several = max(1, min(CANDIDATES, sae.d_in // len(wanted)))  # there are so many axes
        controls = [
            Control(KINDS[kind], max(1, round(features[number].n_fired * share)), features[number].floor)
            for kind, number in wanted
            for _ in range(several)
        ]
        attempt.report(done=0, total=0, unit="contexts", message="Finding controls")
        made = control_sae(
            lm, sae.hookpoint, controls, contexts, lengths=lengths, seed=random.getrandbits(32),
            on_batch=lambda done, total: attempt.report(done=done, total=total),
        )  # fmt: skip
        attempt.report(message="Reading controls")
        collect_evidence(
            lm, [made], contexts, [folder / "controls"], lengths=lengths, pieces=opened.pieces,
            on_batch=lambda done, total: attempt.report(done=done, total=total),
        )  # fmt: skip
        there = collected(folder / "controls")
        scale = _scale([features[number] for _, number in wanted])
        found = []
        for place, (kind, number) in enumerate(wanted):
            candidates = there[place * several : (place + 1) * several]
            apart = [_apart(each, features[number], scale) for each in candidates]
            latent = candidates[apart.index(min(apart))]
            row = made.W_dec[latent.index]
            axis = int(row.abs().argmax())
            about = {"axis": axis, "sign": 1 if row[axis] > 0 else -1} if kind == SubjectKind.NEURON else {}
            shown = evidence(collection.corpus, latent.seen, random)
            found.append(Made(kind, latent.n_fired / share, shown, pair=number, about=about))
        return found


def untrained_controls(
    other: Sae | None, features: Sequence[Latent], n: int, random: Random, corpus: Corpus
) -> list[Made]:
    """Latents of an SAE on a re-initialised lm, read over the same text, for the features that have one most like them:
    that fires as often, about as often in a context, and over a like range of strengths. By any of these a page would
    tell what it is, and few of an untrained lm fire twice in a context."""
    if not n:
        return []
    collection = library.collections_of(other).filter(corpus=corpus).first() if other else None
    if other is None or collection is None:
        raise Refused("The SAE that controls are latents of has been removed, or was not read over this text.")
    firing = list(Activity.objects.filter(collection=collection, n_fired__gt=0).order_by("index"))
    scale = _scale(features)
    wanted = np.array([each.figures for each in features]) * scale
    others = np.array([figures(each.n_fired, each.n_contexts, each.mean, each.deviation, each.maximum)
                       for each in firing]).reshape(-1, len(scale)) * scale  # fmt: skip
    like = matched(wanted, others)
    numbers = np.argsort(np.square(wanted - others[like]).sum(axis=1), kind="stable")[:n].tolist()
    chosen = latents(collection, [firing[like[number]].index for number in numbers])
    return [
        Made(
            SubjectKind.UNTRAINED,
            latent.n_fired,
            evidence(corpus, latent.seen, random),
            sae=other.pk,
            index=latent.index,
            pair=number,
        )
        for latent, number in zip(chosen, numbers, strict=True)
    ]


def _scale(of: Sequence[Latent]) -> NDArray[np.float64]:
    """By which figures are multiplied before they are compared: in units of how far these differ among themselves."""
    spread = np.array([each.figures for each in of]).std(axis=0)
    scale: NDArray[np.float64] = WEIGHTS / np.where(spread > 0, spread, 1)
    return scale


def _apart(one: Latent, other: Latent, scale: NDArray[np.float64]) -> float:
    return float(np.square((np.array(one.figures) - np.array(other.figures)) * scale).sum())


def shuffled_controls(features: Sequence[Latent], made: Sequence[Made], numbers: Sequence[int], random: Random
                      ) -> list[Made]:  # fmt: skip
    """Attention checks: a feature's own texts, in which anything lights up."""
    found = []
    for number in numbers:
        other = random.choice([each for each in range(len(made)) if each != number] or [number])
        mixed = shuffled(made[number].evidence, made[other].evidence, random)
        found.append(Made(SubjectKind.SHUFFLED, features[number].n_fired, mixed, pair=number))
    return found
