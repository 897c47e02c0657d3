"""Interventions at work: what goes on from their hookpoints, for several runs in one forward."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sae_core.attached import Attached
from sae_core.config import Family, Normalise
from sae_core.errors import BadInput
from sae_core.hookpoints import Replace
from sae_core.interventions import PHASES, Intervention, Method, Run, saes_of
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.sae import Sae

DEPENDENT = 1e-5  # times the largest singular value
# A latent of these is told from its own column of the encoder.
BY_COLUMN = {Family.RELU, Family.JUMPRELU, Family.RANDOM, Family.GATED, Family.BATCHTOPK, Family.MATRYOSHKA}


# Places in PHASES: of each token, (length), or one for all, as when a text is written token by token.
Phases = Tensor | int


class Changes:
    """For `Lm.hooked`: `at` says what the next forward reads, `replace` is what goes on from each hookpoint.

    An SAE reads what passes as it was before anything is changed at its own hookpoint, and with what has been changed
    below. Of two at one hookpoint neither sees what the other does.
    """

    def __init__(self, lm: Lm, runs: Sequence[Run]) -> None:
        if not runs:
            raise BadInput("no run is given")
        self._lm = lm
        self._passed: dict[str, Tensor] = {}
        self._counts = torch.ones(0, dtype=torch.bool)  # (runs, length)
        self._phases: Phases = 0
        self._at: dict[str, _Place] = {}
        for sae in saes_of(runs):
            attached = Attached(lm, sae)
            self._at.setdefault(sae.hookpoint_out, _Place(runs)).add(_OfSae(attached, runs))
        self._read = {sae.hookpoint for sae in saes_of(runs)}

    @property
    def replace(self) -> Mapping[str, Replace]:
        return {name: self._at_hookpoint(name) for name in {*self._at, *self._read}}

    def at(self, tokens: Tensor, n_prompt: int, start: int = 0) -> None:
        """The next forward is of these tokens; `start` came before them, of which the first `n_prompt` are the prompt.
        # (runs, length)"""
        stop = start + tokens.shape[1]
        if start >= n_prompt or stop <= n_prompt:
            self._phases = int(start >= n_prompt)
        else:
            self._phases = (torch.arange(start, stop, device=tokens.device) >= n_prompt).long()
        self._counts = counted(tokens, self._lm.mask_ids)

    def _at_hookpoint(self, name: str) -> Replace:
        def go_on(y: Tensor) -> Tensor:
            place = self._at.get(name)
            new = y if place is None else place.changed(y, self._passed | {name: y}, self._phases, self._counts)
            self._passed[name] = new
            return new

        return go_on


class _Place:
    """A hookpoint that is written to."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, self._saes = runs, list[_OfSae]()
        self._touched = torch.zeros(len(PHASES), len(runs), dtype=torch.bool)
        self._touches = [False] * len(PHASES)  # by any run
        self._controls: Tensor | None = None  # (runs, 1, d_out), zeros where a run is none
        self._bases: dict[tuple[int, int], Tensor] = {}  # (d_out, k) orthonormal, by phase and run

    def add(self, of_sae: "_OfSae") -> None:
        sae = of_sae.sae
        self._saes.append(of_sae)
        self._touched = self._touched.to(sae.device)
        for phase, when in enumerate(PHASES):
            for number, run in enumerate(self._runs):
                ours = [each for each in run.interventions if each.sae is sae and each.holds_in(when)]
                if ours:
                    self._touched[phase, number] = self._touches[phase] = True
                self._project([each for each in ours if each.method == Method.PROJECT], phase, number)
        if self._controls is None and any(run.control is not None for run in self._runs):
            self._controls = torch.stack([_direction(run.control, sae) for run in self._runs])[:, None]

    def _project(self, interventions: Sequence[Intervention], phase: int, number: int) -> None:
        rows = [_wide(each.sae.W_dec[list(each.latents)]) for each in interventions]
        if (before := self._bases.get((phase, number))) is not None:
            rows.append(before.T)
        if interventions:
            directions, sizes, _ = torch.linalg.svd(torch.cat(rows).T, full_matrices=False)
            # Of two that are one direction, the second would bring one that nobody has named.
            self._bases[phase, number] = directions[:, sizes > DEPENDENT * sizes[0]]

    def changed(self, y: Tensor, passed: Mapping[str, Tensor], phases: Phases, counts: Tensor) -> Tensor:
        if isinstance(phases, int) and not self._touches[phases]:
            return y
        touched = _of(phases, self._touched) & counts  # (runs, length)
        wide = _wide(y)  # (runs, length, d_out)
        new = wide
        for each in self._saes:
            new = new + each.delta(passed[each.sae.hookpoint], phases)
        for (phase, number), basis in self._bases.items():
            here = torch.full(y.shape[1:2], phases == phase) if isinstance(phases, int) else phases == phase
            new = new.clone() if new is wide else new
            new[number, here] -= (new[number, here] @ basis.to(new.dtype)) @ basis.T.to(new.dtype)
        if self._controls is not None:
            along = wide + (new - wide).norm(dim=-1, keepdim=True) * self._controls
            new = torch.where(self._controls.any(-1, keepdim=True), along, new)
        return torch.where(touched[..., None], new.to(y.dtype), y)


def _of(phases: Phases, by_phase: Tensor) -> Tensor:
    """(phases, runs, …) -> (runs, length or 1, …)"""
    return by_phase[phases][:, None] if isinstance(phases, int) else by_phase[phases].transpose(0, 1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _direction(seed: int | None, sae: Sae) -> Tensor:
    if seed is None:
        return torch.zeros(sae.d_out, device=sae.device)
    drawn = torch.randn(sae.d_out, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=0).to(sae.device)


class _OfSae:
    """What the runs change of one SAE's latents."""

    def __init__(self, attached: Attached, runs: Sequence[Run]) -> None:
        self.sae = sae = attached.sae
        self._attached = attached
        by_latent = [
            (phase, number, each)
            for phase, when in enumerate(PHASES)
            for number, run in enumerate(runs)
            for each in run.interventions
            if each.sae is sae and each.holds_in(when) and each.method != Method.PROJECT
        ]
        named = {latent for *_, each in by_latent if each.method != Method.KEEP for latent in each.latents}
        self._latents = torch.tensor(sorted(named), dtype=torch.int64, device=sae.device)  # (m)
        column = {latent: place for place, latent in enumerate(sorted(named))}
        shape = (len(PHASES), len(runs), len(named))
        less = torch.zeros(shape, dtype=sae.dtype)  # factor − 1
        self._constant = torch.zeros(shape, dtype=sae.dtype)
        self._dropped: Tensor | None = None  # (phases, runs, n_latents) those that are not kept
        for phase, number, each in by_latent:
            if each.method == Method.KEEP:
                if self._dropped is None:
                    self._dropped = torch.zeros(*shape[:2], sae.n_latents, dtype=torch.bool)
                self._dropped[phase, number] = True
                self._dropped[phase, number, list(each.latents)] = False
                continue
            columns = [column[latent] for latent in each.latents]
            factor, constant = each.affine
            less[phase, number, columns] = factor - 1
            self._constant[phase, number, columns] = constant
        self._constant = self._constant.to(sae.device)
        self._less = less.to(sae.device) if less.any() else None
        self._dropped = None if self._dropped is None else self._dropped.to(sae.device)
        self._directions = sae.W_dec[self._latents]  # (m, d_out)
        self._reader = _columns(sae, self._latents) if self._less is not None else None

    def delta(self, activation: Tensor, phases: Phases) -> Tensor:
        """s·(f′ − f)·W_dec  # (runs, length, d_in) -> (runs, length, d_out)"""
        x = self._attached.seen(activation)
        change = _of(phases, self._constant)  # (runs, length, m)
        if self._reader is not None and self._less is not None:
            change = change + _of(phases, self._less) * self._named(x)
        delta = change @ self._directions
        if self._dropped is not None:
            others = torch.where(_of(phases, self._dropped), self._encoded(self.sae, x), 0)
            delta = delta - others @ self.sae.W_dec
        if self.sae.config.normalise != Normalise.NONE and self.sae.config.undo_normalise:
            delta = delta * self.sae.normalised(x).scale
        return delta

    def _named(self, x: Tensor) -> Tensor:
        assert self._reader is not None
        acts = self._encoded(self._reader, x)
        return acts if self._reader is not self.sae else acts[..., self._latents]

    def _encoded(self, sae: Sae, x: Tensor) -> Tensor:
        return sae.encode(x.flatten(0, 1)).reshape(*x.shape[:2], -1)


def _columns(sae: Sae, latents: Tensor) -> Sae:
    """An SAE of these latents alone, where that gives the same; else the whole."""
    if sae.config.family not in BY_COLUMN:
        return sae
    tensors = {}
    for name, each in sae.tensors().items():
        if name == "W_enc":
            tensors[name] = each[:, latents]
        elif name in ("b_dec", "W_skip") or each.dim() == 0:
            tensors[name] = each
        else:
            tensors[name] = each[latents]
    # Their k and prefixes are of training; it is the threshold that they encode by.
    config = replace(sae.config, n_latents=len(latents), prefixes=(), k=None)
    return Sae(config, tensors).to(sae.device, sae.dtype)
