"""Reading and replacing what passes at a hookpoint.

A hookpoint is named as TransformerLens names it (`blocks.3.hook_resid_post`), or as a module of transformers with its
side (`model.layers.3.output`). Both names of one place mean the same.
"""

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from sae_core.architectures import EMBEDDED, Layout, Place, Side, normalized, with_gain
from sae_core.errors import BadInput

Replace = Callable[[Tensor], Tensor]
See = Callable[[Tensor], Tensor | None]  # None leaves what passes as it is

EMBED = "hook_embed"
BLOCK_NAME = re.compile(r"blocks\.(0|[1-9][0-9]*)\.(.+)")
MODULE_NAME = re.compile(r"(.+)\.(input|output)")
# Of several at one module, that which the forward comes to first is hooked first.
SIDES: tuple[Side, ...] = ("input", "stream", "normalized", "output")


@dataclass(frozen=True)
class Hookpoint:
    name: str  # by TransformerLens where it has a name
    module: nn.Module
    side: Side
    layer: int | None = None  # None outside of the blocks
    place: Place | None = None  # within its block
    gain_offset: float = 0.0


def names(layout: Layout) -> list[str]:
    """Every hookpoint that has a TransformerLens name, in the order of the forward."""
    suffixes = layout.architecture.places()
    return [EMBED] + [f"blocks.{layer}.{suffix}" for layer in range(len(layout.blocks)) for suffix in suffixes]


def resolve(layout: Layout, name: str) -> Hookpoint:
    if name == EMBED:
        return Hookpoint(EMBED, layout.hf.get_input_embeddings(), "output", None, EMBEDDED)
    if match := BLOCK_NAME.fullmatch(name):
        return _in_block(layout, name, int(match[1]), match[2])
    if match := MODULE_NAME.fullmatch(name):
        path, side = match[1], match[2]
        if layout.architecture.renamed:
            old, new = layout.architecture.renamed
            path = new + path.removeprefix(old) if path.startswith(old) else path
        with suppress(AttributeError):
            return _of_module(layout, path, layout.hf.get_submodule(path), side)
    raise BadInput(f"{name} cannot be resolved in this {layout.kind}; what can be: {_resolvable(layout)}")


def _in_block(layout: Layout, name: str, layer: int, suffix: str) -> Hookpoint:
    place = layout.architecture.places().get(suffix)
    if place is None or not layout.blocks:
        block = layout.architecture.block
        why = " (attention and MLP run in parallel)" if block and block.parallel and suffix == "hook_resid_mid" else ""
        raise BadInput(f"{name} cannot be resolved in this {layout.kind}{why}; what can be: {_resolvable(layout)}")
    n_layers = len(layout.blocks)
    if layer >= n_layers:
        raise BadInput(f"{name}: this {layout.kind} has {n_layers} layers, blocks.0 to blocks.{n_layers - 1}")
    module = layout.blocks[layer].get_submodule(place.path)
    return Hookpoint(name, module, place.side, layer, place, layout.architecture.gain_offset)


def _of_module(layout: Layout, path: str, module: nn.Module, side: str) -> Hookpoint:
    prefix = f"{layout.architecture.blocks}."
    here: Side = "input" if side == "input" else "output"
    if module is layout.hf.get_input_embeddings() and here == "output":
        return resolve(layout, EMBED)
    if not layout.blocks or not path.startswith(prefix):
        return Hookpoint(f"{path}.{side}", module, here)
    number, _, within = path.removeprefix(prefix).partition(".")
    for suffix, place in layout.architecture.places().items():
        if place.path == within and (place.side == here or (place.side == "stream" and here == "input")):
            return Hookpoint(f"blocks.{number}.{suffix}", module, place.side, int(number), place)
    return Hookpoint(f"{path}.{side}", module, here, int(number), Place(within, here))


def _resolvable(layout: Layout) -> str:
    """All of it, told briefly."""
    last = len(layout.blocks) - 1
    layers = f"0…{last}" if last else "0"
    blocks = [f"blocks.{layers}.{suffix}" for suffix in layout.architecture.places()] if layout.blocks else []
    *_, last_module = (name for name, _ in layout.hf.named_children())
    module = f"{layout.architecture.blocks}.0" if layout.blocks else last_module
    return ", ".join([EMBED, *blocks, f"any module with its side, as in {module}.output"])


def width(layout: Layout, name: str) -> int:
    """Told from the weights; nothing is run."""
    point = resolve(layout, name)
    block = layout.architecture.block
    parts = {"", *(each.module for each in block.writers)} if block else {""}
    if point.place and point.place.path in parts:
        return layout.d_model
    module, weight = point.module, getattr(point.module, "weight", None)
    if isinstance(module, nn.Embedding) and point.side == "output":
        return module.embedding_dim
    if isinstance(module, nn.Linear):
        return module.in_features if point.side == "input" else module.out_features
    if isinstance(module, Conv1D) and isinstance(weight, Tensor):
        return weight.shape[0 if point.side == "input" else 1]
    if isinstance(weight, Tensor) and weight.dim() == 1:  # a norm
        return weight.shape[0]
    raise BadInput(f"{name}: the weights of {type(module).__name__} do not tell its width; hook a module that has some")


def read(layout: Layout, hookpoints: Sequence[str], forward: Callable[[], object]) -> dict[str, Tensor]:
    """What passes at these in one forward, which is stopped at the last of them."""
    found: dict[str, Tensor] = {}
    wanted = list(dict.fromkeys(hookpoints))

    def keep(name: str) -> See:
        def see(x: Tensor) -> None:
            found.setdefault(name, x)
            if len(found) == len(wanted):
                raise _Stop

        return see

    with _installed([(resolve(layout, name), keep(name)) for name in wanted]), suppress(_Stop):
        if wanted:
            forward()
    check_passed(wanted, found)
    return {name: found[name] for name in wanted}


class _Stop(Exception):
    """Everything wanted has been read."""


@contextmanager
def hooked(layout: Layout, replace: Mapping[str, Replace]) -> Iterator[set[str]]:
    """Every forward of the lm within, in this thread, goes on with what these functions make of what passes.

    Yields the names of the hookpoints that a forward has come to. What is put back as it was changes no bit, but at
    `ln2.hook_normalized` of a LayerNorm, whose own kernel rounds otherwise than its formula.
    """
    passed: set[str] = set()

    def change(name: str, side: Side, function: Replace) -> See:
        def see(x: Tensor) -> Tensor:
            passed.add(name)
            # The stream is written in place below, and what the function was given stays what it was.
            new = function(x.clone() if side == "stream" else x)
            if not isinstance(new, Tensor) or new.shape != x.shape:
                what = f"of shape {tuple(new.shape)}" if isinstance(new, Tensor) else f"a {type(new).__name__}"
                raise BadInput(
                    f"{name}: what is put in its place is {what}, expected a tensor of shape {tuple(x.shape)}"
                )
            return new.to(x)

        return see

    points = [(resolve(layout, name), name, function) for name, function in replace.items()]
    with _installed([(point, change(name, point.side, function)) for point, name, function in points]):
        yield passed


def check_passed(wanted: Collection[str], passed: Collection[str]) -> None:
    """An intervention at a module that the forward leaves out would change nothing, and say nothing."""
    if missed := [name for name in wanted if name not in passed]:
        raise BadInput(f"the forward of this lm does not come to {', '.join(missed)}")


@contextmanager
def _installed(seers: Sequence[tuple[Hookpoint, See]]) -> Iterator[None]:
    owner = threading.get_ident()
    with ExitStack() as handles:
        for point, see in sorted(seers, key=lambda each: SIDES.index(each[0].side)):
            handles.callback(_install(point, see, owner).remove)
        yield


def _install(point: Hookpoint, see: See, owner: int) -> RemovableHandle:
    """Threads share an lm; a hook is there for the one that installed it."""

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != owner:
            return None
        x = _tensor(point, args[0] if args else kwargs.get("hidden_states"))
        new = see(x)
        if new is None:
            return None
        if point.side == "stream":
            x.copy_(new)  # the block holds on to the same tensor, to add to it
            return None
        return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if threading.get_ident() != owner:
            return None
        if point.side == "normalized":
            new = see(normalized(module, _tensor(point, args[0])))
            return None if new is None else with_gain(module, new, point.gain_offset)
        new = see(_tensor(point, output[0] if isinstance(output, tuple) else output))
        if new is None:
            return None
        return (new, *output[1:]) if isinstance(output, tuple) else new

    if point.side in ("input", "stream"):
        return point.module.register_forward_pre_hook(before, with_kwargs=True)
    return point.module.register_forward_hook(after)


def _tensor(point: Hookpoint, x: Any) -> Tensor:
    if not isinstance(x, Tensor) or x.dim() != 3:
        what = f"of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise BadInput(f"{point.name}: what passes there is {what}, expected (contexts, length, width)")
    return x
