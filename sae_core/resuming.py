"""Forwards over the same tokens that begin at a block: what lies below is computed once, and then given as it was."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sae_core.architectures import RESID_POST
from sae_core.hookpoints import Replace, check_passed, resolve
from sae_core.lm import Lm, Tokens


class Resumed:
    """Of some contexts, for changes at these hookpoints or above."""

    @torch.no_grad()
    def __init__(self, lm: Lm, tokens: Tokens, hookpoints: Collection[str]) -> None:
        self._lm, self._ids = lm, lm.checked(tokens)
        self._below = lm.layout.blocks[: min(_blocks_below(lm, each) for each in hookpoints)]
        given: list[Any] = []
        handles = [each.register_forward_hook(_kept(given)) for each in self._below[-1:]]
        try:
            self.clean: Tensor = lm.hf(input_ids=self._ids, use_cache=False).logits  # (contexts, length, n_vocab)
        finally:
            for handle in handles:
                handle.remove()
        self._given = given[0] if given else None

    @torch.no_grad()
    def logits(self, replace: Mapping[str, Replace]) -> Tensor:
        """As `Lm.logits` of the same tokens.  # (contexts, length, n_vocab)"""
        with _left_out(self._below, self._given), self._lm.hooked(replace) as passed:
            logits: Tensor = self._lm.hf(input_ids=self._ids, use_cache=False).logits
        check_passed(replace, passed)
        return logits


def _blocks_below(lm: Lm, hookpoint: str) -> int:
    """How many blocks nothing is changed in: with a block's own output, that block too."""
    point = resolve(lm.layout, hookpoint)
    if point.layer is None:
        return 0
    return point.layer + (point.place == RESID_POST)


def _kept(given: list[Any]) -> Callable[..., None]:
    """What this thread's forward gives; threads share an lm."""
    owner = threading.get_ident()

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        if threading.get_ident() == owner:
            given.append(output)

    return keep


class _Forward:
    """A block's forward, which a thread may leave out. It stays in its place once it is there: were it put back, a
    thread that came later could be left with what is not its own."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self.instead: dict[int, Any] = {}  # by thread

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = threading.get_ident()
        return self.instead[own] if own in self.instead else self._forward(*args, **kwargs)


_installing = threading.Lock()


@contextmanager
def _left_out(blocks: Collection[nn.Module], given: Any) -> Iterator[None]:
    """Within, in this thread, none of these is computed. Each gives what the last of them gave: the next reads it, and
    what those between give goes nowhere else."""
    own, forwards = threading.get_ident(), [_forward_of(each) for each in blocks]
    for each in forwards:
        each.instead[own] = given
    try:
        yield
    finally:
        for each in forwards:
            del each.instead[own]


def _forward_of(block: nn.Module) -> _Forward:
    with _installing:
        if not isinstance(block.forward, _Forward):
            block.forward = _Forward(block.forward)
        return block.forward
