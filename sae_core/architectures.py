"""Where things lie in the language models of transformers 5: the table behind hookpoints and the lens."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

# `stream` is an input that the block also adds to later: writing there has to reach both.
# `normalized` lies inside a norm: its input normalised, before the gain.
Side = Literal["input", "output", "stream", "normalized"]


@dataclass(frozen=True)
class Place:
    path: str  # of a module within a block; "" is the block itself
    side: Side


@dataclass(frozen=True)
class Writer:
    """A part of a block that adds to the residual stream: its attention or its MLP."""

    module: str
    projection: str  # its last matrix: W_O or W_out
    post_norm: str | None = None  # a norm that what it writes passes on the way

    @property
    def hidden(self) -> Place:
        """What the last matrix reads: the heads' outputs, the MLP's neurons."""
        return Place(self.projection, "input")

    @property
    def written(self) -> Place:
        """What is added to the residual stream."""
        return Place(self.post_norm or self.module, "output")

    def way(self, place: Place) -> tuple[str, ...] | None:
        """The modules between a place in here and the residual stream; None where the place is not in here."""
        post_norm = (self.post_norm,) if self.post_norm else ()
        if place == self.hidden:
            return (self.projection, *post_norm)
        if place == self.written:
            return ()
        unnormed = {Place(self.projection, "output"), Place(self.module, "output")}
        unnormed |= {Place(each, "input") for each in post_norm}
        return post_norm if place in unnormed else None


@dataclass(frozen=True)
class Block:
    attention: Writer
    mlp: Writer | None = None  # None where there is attention alone
    mlp_norm: str | None = None  # through which the MLP reads the residual stream; ln2 in TransformerLens
    parallel: bool = False  # attention and MLP read the same stream, so there is none between them

    @property
    def writers(self) -> tuple[Writer, ...]:
        return (self.attention, self.mlp) if self.mlp else (self.attention,)

    def places(self) -> dict[str, Place]:
        """Where each hookpoint of TransformerLens lies, in the order of the forward."""
        return {
            "hook_resid_pre": RESID_PRE,
            "attn.hook_z": self.attention.hidden,
            "hook_attn_out": self.attention.written,
            **self._mlp_places(),
            "hook_resid_post": RESID_POST,
        }

    def _mlp_places(self) -> dict[str, Place]:
        if self.mlp is None or self.mlp_norm is None:
            return {}
        between = {} if self.parallel else {"hook_resid_mid": Place(self.mlp_norm, "stream")}
        return {
            **between,
            "ln2.hook_normalized": Place(self.mlp_norm, "normalized"),
            "hook_mlp_in_normed": Place(self.mlp_norm, "output"),
            "mlp.hook_post": self.mlp.hidden,
            "hook_mlp_out": self.mlp.written,
        }


RESID_PRE, RESID_POST = Place("", "input"), Place("", "output")
EMBEDDED = Place("hook_embed", "output")  # what the token embeddings put into the stream, before any block


@dataclass(frozen=True)
class Architecture:
    blocks: str  # where the list of blocks lies
    block: Block | None = None  # None where nothing is known of their insides
    final_norm: str | None = None  # None where there is none, or nothing is known
    gain_offset: float = 0.0  # Gemma's norms store their gain less 1
    renamed: tuple[str, str] | None = None  # a prefix of module names in use elsewhere, and what it is here

    def is_stream(self, place: Place) -> bool:
        return place in (EMBEDDED, RESID_PRE, RESID_POST) or place.side == "stream"

    def way(self, place: Place) -> tuple[str, ...] | None:
        """The modules between a place and the residual stream that it writes to; None where nothing is written."""
        if self.is_stream(place):
            return ()
        writers = self.block.writers if self.block else ()
        return next((way for each in writers if (way := each.way(place)) is not None), None)

    def places(self) -> dict[str, Place]:
        return self.block.places() if self.block else {"hook_resid_pre": RESID_PRE, "hook_resid_post": RESID_POST}


GPT2 = Architecture(
    "transformer.h",
    Block(Writer("attn", "attn.c_proj"), Writer("mlp", "mlp.c_proj"), "ln_2"),
    "transformer.ln_f",
)
GPT_NEOX = Architecture(
    "gpt_neox.layers",
    Block(
        Writer("attention", "attention.dense"),
        Writer("mlp", "mlp.dense_4h_to_h"),
        "post_attention_layernorm",
    ),
    "gpt_neox.final_layer_norm",
)
LLAMA = Architecture(
    "model.layers",
    Block(
        Writer("self_attn", "self_attn.o_proj"),
        Writer("mlp", "mlp.down_proj"),
        "post_attention_layernorm",
    ),
    "model.norm",
)
GEMMA2 = Architecture(
    "model.layers",
    Block(
        Writer("self_attn", "self_attn.o_proj", "post_attention_layernorm"),
        Writer("mlp", "mlp.down_proj", "post_feedforward_layernorm"),
        "pre_feedforward_layernorm",
    ),
    "model.norm",
    gain_offset=1.0,
)
ATTENTION_ONLY = Architecture("model.layers", Block(Writer("attn", "attn.o_proj")))
ARCHITECTURES = {
    "attention_only": ATTENTION_ONLY,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": replace(LLAMA, gain_offset=1.0),
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA2,
    # With a tower for images; SAEs name the modules of its text tower as in the text-only lm.
    "gemma3": replace(
        GEMMA2,
        blocks="model.language_model.layers",
        final_norm="model.language_model.norm",
        renamed=("model.layers.", "model.language_model.layers."),
    ),
}


@dataclass(frozen=True)
class Layout:
    """An architecture as it is found in one lm."""

    hf: PreTrainedModel
    architecture: Architecture
    blocks: tuple[nn.Module, ...]
    d_model: int

    @property
    def kind(self) -> str:
        return str(self.hf.config.model_type)

    @property
    def final_norm(self) -> nn.Module | None:
        path = self.architecture.final_norm
        return self.hf.get_submodule(path) if path else None


def lay_out(hf: PreTrainedModel) -> Layout:
    config = hf.config.get_text_config()
    architecture = ARCHITECTURES.get(hf.config.model_type) or Architecture(_find_blocks(hf))
    if architecture.block and getattr(config, "use_parallel_residual", False):
        architecture = replace(architecture, block=replace(architecture.block, parallel=True))
    blocks = hf.get_submodule(architecture.blocks) if architecture.blocks else ()
    return Layout(hf, architecture, tuple(blocks), config.hidden_size)


def _find_blocks(hf: PreTrainedModel) -> str:
    """The one list of as many modules as the config counts layers; "" where there is none, or several."""
    n_layers = getattr(hf.config.get_text_config(), "num_hidden_layers", None)
    paths = [path for path, each in hf.named_modules() if isinstance(each, nn.ModuleList) and len(each) == n_layers]
    outermost = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    return outermost[0] if len(outermost) == 1 else ""


def gain(layout: Layout, norm: nn.Module) -> Tensor:
    """What a norm multiplies by, in float32."""
    assert isinstance(norm.weight, Tensor)
    return norm.weight.float() + layout.architecture.gain_offset  # (width)


def normalized(norm: nn.Module, x: Tensor) -> Tensor:
    """What a norm makes of x before its gain and bias."""
    if isinstance(norm, nn.LayerNorm):
        return nn.functional.layer_norm(x, norm.normalized_shape, eps=norm.eps)
    settings = vars(norm)
    eps = settings["variance_epsilon" if "variance_epsilon" in settings else "eps"]
    wide = x.float()  # as these norms do whatever the lm's dtype
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def with_gain(norm: nn.Module, new: Tensor, gain_offset: float) -> Tensor:
    """What a norm gives where its input, normalised, is `new`: in each norm's own order of rounding."""
    weight, bias = norm.weight, getattr(norm, "bias", None)
    assert isinstance(weight, Tensor)
    if gain_offset:
        return (new.float() * (gain_offset + weight.float())).to(new.dtype)
    return weight * new if bias is None else weight * new + bias


def is_projection(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def matrix(projection: nn.Module) -> Tensor:
    """The weight, so that x @ matrix is what the module adds its bias to.  # (d_in, d_out)"""
    assert isinstance(projection.weight, Tensor)
    return projection.weight if isinstance(projection, Conv1D) else projection.weight.T
