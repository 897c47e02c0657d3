"""An SAE at its place in an lm."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.lm import Lm, Tokens
from sae_core.sae import Sae
from sae_core.sparse import pack


class Passing(NamedTuple):
    """What an SAE reads and what it has to reconstruct: the same, but for transcoders."""

    x: Tensor  # (contexts, length, d_in) float32 or the SAE's own
    y: Tensor  # (contexts, length, d_out)


class Part(NamedTuple):
    """Some tokens, gone through the SAE."""

    x: Tensor  # (n, d_in)
    y: Tensor  # (n, d_out)
    x_hat: Tensor  # (n, d_out)
    n_fired: Tensor  # (n_latents) at how many of them each latent fired


BLOCK_BYTES = 256 << 20  # of dense latents held at a time
SPARSE = 1 / 32  # of the latents firing, below which decoding those alone is faster than the whole product


def reconstructed(sae: Sae, x: Tensor, y: Tensor) -> Iterator[Part]:
    """All tokens, as many at a time as fit.  # (n, d_in), (n, d_out)"""
    rows = max(1, BLOCK_BYTES // (sae.n_latents * sae.dtype.itemsize))
    for start in range(0, max(len(x), 1), rows):
        some = x[start : start + rows]
        if sae.config.family == Family.TOPK:
            sparse = sae.encode_sparse(some)
            n_fired = torch.bincount(sparse.indices[sparse.indices >= 0], minlength=sae.n_latents)
            x_hat = sae.decode(sparse, some)
        else:
            acts = sae.encode(some)
            n_fired = acts.count_nonzero(0)
            few = int(n_fired.sum()) < SPARSE * acts.numel()
            x_hat = sae.decode(pack(acts) if few else acts, some)
        yield Part(some, y[start : start + rows], x_hat, n_fired)


class Attached:
    """Refused where the SAE's widths are not those of its hookpoints, or where it lies on another device."""

    def __init__(self, lm: Lm, sae: Sae) -> None:
        self.lm = lm
        self.sae = sae
        if sae.device != lm.device:
            raise BadInput(f"the SAE is on {sae.device} and {lm.name} on {lm.device}; move it there: sae.to(lm.device)")
        for hookpoint, width, verb in (
            (sae.hookpoint, sae.d_in, "reads"),
            (sae.hookpoint_out, sae.d_out, "writes"),
        ):
            if not hookpoint:
                raise BadInput(f"the SAE's files do not say where it {verb}; name the hookpoint, one of {_some(lm)}")
            found = lm.width(hookpoint)
            if found != width:
                raise BadInput(
                    f"the SAE {verb} {width} numbers a token, and {hookpoint} of {lm.name} has {found}; "
                    "it belongs to another lm, or to another hookpoint of this one"
                )

    def read(self, tokens: Tokens) -> Passing:
        """What passes there; nothing above is computed."""
        sae = self.sae
        return self._passing(self.lm.read(tokens, [sae.hookpoint, sae.hookpoint_out]))

    def run(self, tokens: Tokens) -> tuple[Passing, Tensor]:
        """What passes there, and the logits, from one forward."""
        passed: dict[str, Tensor] = {}

        def keep(hookpoint: str) -> Callable[[Tensor], Tensor]:
            def as_it_is(activation: Tensor) -> Tensor:
                passed[hookpoint] = activation
                return activation

            return as_it_is

        hookpoints = {self.sae.hookpoint, self.sae.hookpoint_out}
        logits = self.lm.logits(tokens, {each: keep(each) for each in hookpoints})
        return self._passing(passed), logits

    def logits_with(self, tokens: Tokens, new: Tensor, where: Tensor) -> Tensor:
        """The logits with other outputs in place at some positions, all else as it is.

        `new` is in the SAE's terms: where it is centred, the mean over the width stays what it was.
        # new (n, d_out), where (contexts, length) with n true
        """

        def put(activation: Tensor) -> Tensor:
            changed = activation.clone()
            kept = activation[where]  # (n, d_out)
            mean = kept.mean(-1, keepdim=True) if self.sae.config.centred else 0
            changed[where] = (new + mean).to(activation.dtype)
            return changed

        return self.lm.logits(tokens, {self.sae.hookpoint_out: put})

    def _passing(self, passed: dict[str, Tensor]) -> Passing:
        return Passing(self.seen(passed[self.sae.hookpoint]), self.seen(passed[self.sae.hookpoint_out]))

    def seen(self, activation: Tensor) -> Tensor:
        """In the SAE's terms: its precision, and centred where it is."""
        activation = activation.to(self.sae.dtype)
        return activation - activation.mean(-1, keepdim=True) if self.sae.config.centred else activation


def _some(lm: Lm) -> str:
    return ", ".join(lm.hookpoints[:3]) + ", …"
