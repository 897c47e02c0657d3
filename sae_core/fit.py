"""Whether an SAE belongs to an lm as it is read there; where it does not, what would make it fit.

SAEs come without all they were trained with: centred writing weights, a beginning-of-text token before each context,
the layer counted from another end, inputs scaled. A few thousand tokens tell.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core.attached import Attached, reconstructed
from sae_core.config import Family, Normalise
from sae_core.errors import BadInput
from sae_core.folding import scaled_inputs
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.sae import Sae

TOKENS = 4000
TRIED_ON = 1000  # of them, while looking
POOR = 0.3  # FVU above which other readings are tried
WORTH_SAYING = 0.75  # of the FVU as it is, at most
ROUNDS = 2  # one change, then another on top of it
CHANCE = 0.95  # of ln(n_vocab): an lm that does no better reads another tokenizer's ids, or is untrained


@dataclass(frozen=True)
class Reading:
    """One way to read the lm for the SAE."""

    hookpoint: str
    hookpoint_out: str
    bos: bool  # the contexts with their beginning-of-text token, or one put there; without
    centred: bool
    normalise: Normalise
    scaled: bool  # inputs brought to the average norm √d


@dataclass(frozen=True)
class Attempt:
    what: str
    """The changes, in words; empty as it is."""
    reading: Reading
    fvu: float
    l0: float


@dataclass(frozen=True)
class Fit:
    as_it_is: Attempt
    tried: tuple[Attempt, ...]
    better: Attempt | None
    """Much better than as it is, where one was found."""
    sae: Sae
    """The SAE as the better attempt reads it, else as it was."""
    notes: tuple[str, ...]

    @property
    def message(self) -> str:
        first = f"FVU {self.as_it_is.fvu:.2f} at L0 {self.as_it_is.l0:.1f}"
        if self.better:
            first = f"{self.better.what} gives FVU {self.better.fvu:.2f} instead of {self.as_it_is.fvu:.2f}; use it?"
        elif self.tried:
            first += f", which is poor; none of {len(self.tried)} other readings fits much better"
        return ". ".join([first, *self.notes])


def check_fit(
    lm: Lm, sae: Sae, contexts: NDArray[Any] | Tensor, *, mask_ids: Sequence[int] | None = None, tokens: int = TOKENS
) -> Fit:
    """FVU and L0 on some tokens; where FVU is poor, also centred, with or without beginning of text, at the layers
    beside, normalised and scaled.  # contexts (contexts, length)"""
    Attached(lm, sae)  # widths first
    contexts = contexts.numpy(force=True) if isinstance(contexts, Tensor) else contexts
    mask_ids = lm.mask_ids if mask_ids is None else mask_ids
    whole = _Look(lm, sae, _spread(contexts, tokens), mask_ids, layers_beside=False)
    few = _Look(lm, sae, _spread(contexts, min(TRIED_ON, tokens)), mask_ids, layers_beside=True)
    as_it_is = whole.attempt(whole.start)
    tried: list[Attempt] = []
    if as_it_is.fvu > POOR:
        best = few.attempt(few.start)
        for _ in range(ROUNDS):
            found = [few.attempt(each) for each in few.neighbours(best.reading)]
            tried += found
            lowest = min(found, key=lambda attempt: attempt.fvu)
            if lowest.fvu >= WORTH_SAYING * best.fvu:
                break  # a change that gains little may be chance, and one more to explain
            best = lowest
        if best.reading != whole.start:
            best = whole.attempt(best.reading)
            if best.fvu < WORTH_SAYING * as_it_is.fvu:
                return Fit(as_it_is, tuple(tried), best, whole.adapted(best.reading), few.notes())
    return Fit(as_it_is, tuple(tried), None, sae, few.notes())


def _spread(contexts: NDArray[Any], tokens: int) -> NDArray[np.int64]:
    """Whole contexts from all over the corpus."""
    if contexts.ndim != 2 or not len(contexts):
        raise BadInput(f"the tokens are {contexts.shape}, expected (contexts, length), at least one of each")
    wanted = min(len(contexts), math.ceil(tokens / contexts.shape[1]))
    return np.asarray(contexts[np.arange(wanted) * len(contexts) // wanted]).astype(np.int64)


class _Look:
    """Each reading's activations are read once; every attempt after that is the SAE's alone."""

    def __init__(
        self, lm: Lm, sae: Sae, rows: NDArray[np.int64], mask_ids: Sequence[int], *, layers_beside: bool
    ) -> None:
        self.lm, self.sae, self.mask_ids, self.layers_beside = lm, sae, mask_ids, layers_beside
        first_is_bos = lm.bos_id is not None and bool((rows[:, 0] == lm.bos_id).all())
        config = sae.config
        self.start = Reading(
            sae.hookpoint, sae.hookpoint_out, first_is_bos, config.centred, config.normalise, scaled=False
        )
        self.rows = {first_is_bos: rows}
        if first_is_bos and rows.shape[1] > 1:
            self.rows[False] = rows[:, 1:]
        elif lm.bos_id is not None and not first_is_bos:
            self.rows[True] = np.concatenate([np.full_like(rows[:, :1], lm.bos_id), rows[:, :-1]], axis=1)
        self.read: dict[bool, dict[str, Tensor]] = {}

    def attempt(self, reading: Reading) -> Attempt:
        x, y = self._passing(reading)
        error, fired = 0.0, 0
        for part in reconstructed(self.adapted(reading, x), x, y):
            error += float((part.y - part.x_hat).double().square().sum())
            fired += int(part.n_fired.sum())
        variance = float((y.double() - y.double().mean(0)).square().sum())
        fvu, l0 = error / variance if variance else math.inf, fired / len(x)
        return Attempt(_in_words(self.start, reading), reading, fvu if math.isfinite(fvu) else math.inf, l0)

    def adapted(self, reading: Reading, x: Tensor | None = None) -> Sae:
        sae = self.sae
        if reading.scaled:
            x = self._passing(reading)[0] if x is None else x
            sae = scaled_inputs(sae, x.shape[1] ** 0.5 / float(x.norm(dim=1).mean()))
        out = reading.hookpoint_out if self.sae.config.hookpoint_out else ""
        return sae.with_config(
            hookpoint=reading.hookpoint,
            hookpoint_out=out,
            centred=reading.centred,
            normalise=reading.normalise,
        )

    def neighbours(self, reading: Reading) -> Iterator[Reading]:
        """All that differ in one respect."""
        yield replace(reading, centred=not reading.centred)
        if (not reading.bos) in self.rows:
            yield replace(reading, bos=not reading.bos)
        for moved in self._moved():
            if moved.hookpoint != reading.hookpoint:
                yield replace(reading, hookpoint=moved.hookpoint, hookpoint_out=moved.hookpoint_out)
        if self.sae.config.family == Family.NEURONS:
            return
        for kind in Normalise:
            if kind != reading.normalise:
                yield replace(reading, normalise=kind, scaled=False)
        if reading.normalise == Normalise.NONE and not reading.scaled:
            yield replace(reading, scaled=True)

    def notes(self) -> tuple[str, ...]:
        """Whether the lm knows these tokens at all: a tokenizer of the same size may not be its own."""
        rows = torch.from_numpy(self.rows[self.start.bos])
        rows = rows[: max(1, TRIED_ON // rows.shape[1])].to(self.lm.device)
        keep = counted(rows, self.mask_ids)[:, :-1]
        chance = math.log(self.lm.n_vocab)
        if not keep.any():
            return ()
        logits = self.lm.logits(rows)[:, :-1][keep].float()
        loss = float(torch.nn.functional.cross_entropy(logits, rows[:, 1:][keep]))
        if loss < CHANCE * chance:
            return ()
        return (
            f"The lm predicts this text no better than chance ({loss:.1f} nats a token, chance {chance:.1f}): "
            "were these tokens made by its own tokenizer, and is it trained?",
        )

    def _passing(self, reading: Reading) -> tuple[Tensor, Tensor]:
        """What counts of what the reading reads and reconstructs.  # (n, d_in), (n, d_out)"""
        rows = torch.from_numpy(self.rows[reading.bos]).to(self.lm.device)
        keep = counted(rows, self.mask_ids)
        if not keep.any():
            raise BadInput(f"none of the tokens counts: all of them are masked ids ({list(self.mask_ids)})")
        held = self.read.setdefault(reading.bos, {})
        wanted = {reading.hookpoint, reading.hookpoint_out} - held.keys()
        if wanted and self.layers_beside:  # they are asked for next: one forward reads them all
            wanted |= {each for moved in self._moved() for each in (moved.hookpoint, moved.hookpoint_out)} - held.keys()
        for name, passed in (self.lm.read(rows, sorted(wanted)) if wanted else {}).items():
            held[name] = passed[keep].to(self.sae.dtype)
        x, y = held[reading.hookpoint], held[reading.hookpoint_out]
        if reading.centred:
            x, y = (each - each.mean(-1, keepdim=True) for each in (x, y))
        return x, y

    def _moved(self) -> list[Reading]:
        """At the layers beside, where the lm has these hookpoints, of the SAE's widths."""
        found = []
        for step in (-1, 1):
            there = tuple(_moved(each, step) for each in (self.start.hookpoint, self.start.hookpoint_out))
            with suppress(BadInput):
                if there[0] != self.start.hookpoint and self._widths(*there) == (self.sae.d_in, self.sae.d_out):
                    found.append(replace(self.start, hookpoint=there[0], hookpoint_out=there[1]))
        return found

    def _widths(self, hookpoint: str, hookpoint_out: str) -> tuple[int, int]:
        return self.lm.width(hookpoint), self.lm.width(hookpoint_out)


def _moved(hookpoint: str, step: int) -> str:
    """The same place some layers on; its own name where it is of no block."""
    return re.sub(r"(?<=\.)\d+(?=\.)", lambda found: str(int(found[0]) + step), hookpoint, count=1)


def _in_words(start: Reading, reading: Reading) -> str:
    changes = []
    if reading.centred != start.centred:
        changes.append("centred" if reading.centred else "not centred")
    if reading.bos != start.bos:
        changes.append(f"{'with' if reading.bos else 'without'} beginning of text")
    if reading.hookpoint != start.hookpoint:
        changes.append(f"read at {reading.hookpoint}")
    if reading.normalise != start.normalise:
        changes.append({Normalise.NONE: "not normalised"}.get(reading.normalise, f"with {reading.normalise}"))
    if reading.scaled:
        changes.append("scaled to the average norm √d")
    return " and ".join(changes)
