"""The sparse autoencoder: one class for every family."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from sae_core import activations
from sae_core.config import BATCH_FAMILIES, NEEDS_K, VECTOR_THRESHOLD, Family, Normalise, SaeConfig
from sae_core.errors import BadInput
from sae_core.normalise import Normalised, normalise
from sae_core.sparse import Sparse, pack, trim


def expected_shapes(config: SaeConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of an SAE of this kind, W_skip apart, which any may have."""
    d_in, n_latents, d_out = config.d_in, config.n_latents, config.d_out
    if config.family == Family.NEURONS:
        return {}
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, n_latents),
        "W_dec": (n_latents, d_out),
        "b_dec": (d_out,),
    }
    if config.family == Family.GATED:
        return shapes | {"b_gate": (n_latents,), "r_mag": (n_latents,), "b_mag": (n_latents,)}
    shapes["b_enc"] = (n_latents,)
    if config.family in VECTOR_THRESHOLD:
        shapes["threshold"] = (n_latents,)
    if config.family in BATCH_FAMILIES:
        shapes["threshold"] = ()
    return shapes


class Sae(nn.Module):
    """A sparse autoencoder or transcoder.

        z = normalise(x)                       each input by itself, where config.normalise says how
        h = (z − b_pre)·W_enc                  b_pre = b_dec where config.subtract_b_dec, else 0
        f = σ(h + b_enc)                       σ is the family's, see sae_core.activations
        x̂ = undo(f·W_dec + b_dec) + x·W_skip   W_skip in skip transcoders alone; undo where config.undo_normalise

    Rows of W_dec are directions. Nothing here changes with use: no statistics, no state from encode to decode.
    """

    W_enc: Tensor  # (d_in, n_latents)
    W_dec: Tensor  # (n_latents, d_out)
    b_enc: Tensor | None  # (n_latents), none where gated
    b_dec: Tensor  # (d_out)
    W_skip: Tensor | None  # (d_in, d_out)
    threshold: Tensor | None  # (n_latents), or () for BatchTopK and Matryoshka
    b_gate: Tensor | None  # (n_latents)
    r_mag: Tensor | None  # (n_latents)
    b_mag: Tensor | None  # (n_latents)

    def __init__(self, config: SaeConfig, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        if config.family == Family.NEURONS:
            _check_neurons(config)
            identity = torch.eye(config.d_in)
            zeros = torch.zeros(config.d_in)
            tensors = {"W_enc": identity, "W_dec": identity, "b_enc": zeros, "b_dec": zeros} | dict(tensors)
        else:
            _check(config, tensors)
        if config.family in BATCH_FAMILIES and tensors["threshold"] < 0:
            raise BadInput(
                f"threshold is {tensors['threshold'].item():g}: this {config.family} SAE was never given one. "
                "It is the moving average of the smallest activation kept in training; without it the SAE would act "
                "as ReLU. Train it further, or set the threshold"
            )
        for name in ("W_enc", "W_dec", "b_enc", "b_dec", "W_skip", "threshold", "b_gate", "r_mag", "b_mag"):
            tensor = tensors.get(name)
            self.register_parameter(name, None if tensor is None else nn.Parameter(tensor, requires_grad=False))

    @property
    def hookpoint(self) -> str:
        return self.config.hookpoint

    @property
    def hookpoint_out(self) -> str:
        return self.config.hookpoint_out or self.config.hookpoint

    @property
    def d_in(self) -> int:
        return self.config.d_in

    @property
    def d_out(self) -> int:
        return self.config.d_out

    @property
    def n_latents(self) -> int:
        return self.config.n_latents

    @property
    def dtype(self) -> torch.dtype:
        return self.W_dec.dtype

    @property
    def device(self) -> torch.device:
        return self.W_dec.device

    @property
    def needs_input(self) -> bool:
        """Whether latents alone do not determine the reconstruction."""
        return self._undoes or self.W_skip is not None

    @property
    def _undoes(self) -> bool:
        return self.config.normalise != Normalise.NONE and self.config.undo_normalise

    def tensors(self) -> dict[str, Tensor]:
        """Those that are stored: none of neurons."""
        if self.config.family == Family.NEURONS:
            return {}
        return {name: each.detach() for name, each in self.named_parameters()}

    def with_config(self, **changes: Any) -> Self:
        """The same weights under another configuration, where they lie."""
        return type(self)(replace(self.config, **changes), self.tensors()).to(self.device, self.dtype)

    def normalised(self, x: Tensor) -> Normalised:
        return normalise(x.to(self.dtype), self.config.normalise)

    def in_own_scale(self, y: Tensor, x: Tensor) -> Tensor:
        """What passes where it writes, as its decoder has it: undone is what each token's normalising multiplies by."""
        return y / self.normalised(x).scale if self._undoes else y  # (n, d_out), (n, d_in) -> (n, d_out)

    def pre_acts(self, x: Tensor, *, out: Tensor | None = None) -> Tensor:
        """h + b_enc, what the family's function is applied to; h + b_gate where gated. Into `out`, where given: fresh
        memory for each batch can cost more than the product."""
        return self._product(x, self.b_gate if self.b_enc is None else self.b_enc, out)  # (n, n_latents)

    def encode(self, x: Tensor) -> Tensor:
        config = self.config  # (n, d_in) -> (n, n_latents)
        if config.family == Family.GATED:
            assert self.b_gate is not None  # every tensor of a family is there: _check
            assert self.r_mag is not None
            assert self.b_mag is not None
            return activations.gated(self._product(x), self.b_gate, self.r_mag, self.b_mag)
        return self.activate(self.pre_acts(x))

    def activate(self, pre: Tensor) -> Tensor:
        """f of what `pre_acts` gives; a gated SAE's needs more than these.  # (n, n_latents) -> (n, n_latents)"""
        config = self.config
        assert config.family != Family.GATED
        if config.family in NEEDS_K:
            assert config.k is not None
            if config.family == Family.GROUPMAX:
                return activations.groupmax(pre, config.k)
            return activations.topk(pre, config.k, signed=config.signed)
        if self.threshold is not None:
            return activations.jumprelu(pre, self.threshold)
        return activations.relu(pre)

    def encode_sparse(self, x: Tensor) -> Sparse:
        """The latents that fire; m is the most that fire at any token.  # (n, d_in) -> (n, m)"""
        if self.config.family == Family.TOPK:
            assert self.config.k is not None
            return trim(*activations.topk_sparse(self.pre_acts(x), self.config.k, signed=self.config.signed))
        return pack(self.encode(x))

    def decode(self, acts: Tensor | Sparse, x: Tensor | None = None) -> Tensor:
        """The reconstruction. SAEs that normalise each input by itself, and skip transcoders, need the input too."""
        if x is None and self.needs_input:
            what = (
                "has a skip connection" if self.W_skip is not None else f"undoes {self.config.normalise} of its input"
            )
            raise BadInput(f"this SAE {what}: decode(acts, x) needs the x that was encoded, or call sae(x)")
        if isinstance(acts, Sparse):
            x_hat = self._decode_sparse(acts)  # (n, d_out)
        elif self.config.family == Family.NEURONS:
            x_hat = acts
        else:
            x_hat = acts @ self.W_dec + self.b_dec
        if x is None:
            return x_hat
        if self._undoes:
            x_hat = self.normalised(x).undo(x_hat)
        return x_hat if self.W_skip is None else x_hat + x.to(self.dtype) @ self.W_skip

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x.  # (n, d_in) -> (n, d_out)"""
        acts = self.encode_sparse(x) if self.config.family == Family.TOPK and x.dim() == 2 else self.encode(x)
        return self.decode(acts, x)

    def _product(self, x: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        if x.shape[-1] != self.d_in:
            raise BadInput(f"the input is {x.shape[-1]} wide, this SAE reads {self.d_in}")
        z = self.normalised(x).x
        if self.config.family == Family.NEURONS:
            return z if out is None else out.copy_(z)
        if self.config.subtract_b_dec:
            z = z - self.b_dec
        if out is not None and bias is not None:
            return torch.addmm(bias, z, self.W_enc, out=out)
        return nn.functional.linear(z, self.W_enc.T, bias)  # one pass over the latents for product and bias

    def _decode_sparse(self, acts: Sparse) -> Tensor:
        if not acts.values.shape[-1]:
            return self.b_dec.expand(len(acts.values), -1)
        # Padding points at row 0 with weight 0.
        summed = nn.functional.embedding_bag(
            acts.indices.clamp_min(0), self.W_dec, per_sample_weights=acts.values, mode="sum"
        )
        return summed + self.b_dec

    def extra_repr(self) -> str:
        config = self.config
        out = f" -> {self.hookpoint_out}" if config.transcoder else ""
        return f"{config.family}, {self.d_in} -> {self.n_latents} -> {self.d_out}, {self.hookpoint or '?'}{out}"


def _check(config: SaeConfig, tensors: Mapping[str, Tensor]) -> None:
    shapes = expected_shapes(config)
    if "W_skip" in tensors:
        shapes["W_skip"] = (config.d_in, config.d_out)
    for name, shape in shapes.items():
        if name not in tensors:
            raise BadInput(f"{name} is missing; a {config.family} SAE needs {', '.join(shapes)}")
        if tuple(tensors[name].shape) != shape:
            raise BadInput(f"{name} is {tuple(tensors[name].shape)}, expected {shape}")
    if unknown := sorted(set(tensors) - set(shapes)):
        raise BadInput(f"a {config.family} SAE has no {', '.join(unknown)}; it has {', '.join(shapes)}")
    if config.subtract_b_dec and config.d_in != config.d_out:
        raise BadInput(f"b_dec is {config.d_out} wide and cannot be taken from an input {config.d_in} wide")


def _check_neurons(config: SaeConfig) -> None:
    if not config.d_in == config.n_latents == config.d_out:
        raise BadInput(
            f"neurons are the axes of their hookpoint: d_in, n_latents and d_out are {config.d_in}, "
            f"{config.n_latents} and {config.d_out}, expected one number"
        )
