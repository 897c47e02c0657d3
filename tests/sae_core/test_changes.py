"""What goes on from a hookpoint, beside an implementation of its own: plain hooks on modules of transformers, the whole
SAE forth and back, no cache."""

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.config import Family, Normalise
from sae_core.errors import BadInput
from sae_core.interventions import Intervention, Method, Run, Where
from sae_core.lm import Lm
from sae_core.sae import Sae
from sae_core.steer import steered_logits
from tests.sae_core import random_saes
from tests.sae_core.small_lms import D_MODEL, FAMILIES, new_lm, some_tokens

TEXT = some_tokens(1, 9)[0]
N_PROMPT = 5
BLOCKS = {
    "gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers", "gpt_neox_sequential": "gpt_neox.layers",
    "gemma3": "model.language_model.layers",
}  # fmt: skip

assert_close = functools.partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
# Norms and rotations of some are computed in float32 whatever the lm is in.
assert_close_in_float32 = functools.partial(torch.testing.assert_close, rtol=3e-6, atol=3e-6)


@functools.cache
def exact_lm(family: str) -> Any:
    """In float64, so that only the order of sums can differ."""
    return new_lm(family).double()


every_lm = pytest.mark.parametrize("family", FAMILIES)


def made(family: Family = Family.JUMPRELU, **changes: Any) -> Sae:
    settings = {"d_in": D_MODEL, "n_latents": D_MODEL if family == Family.NEURONS else random_saes.N_LATENTS} | changes
    return random_saes.make(family, **{"hookpoint": "blocks.1.hook_resid_post"} | settings).double()


def keep(seen: list[Tensor], x: Tensor) -> Tensor:
    seen.append(x)
    return x


def changed_latents(method: Method, f: Tensor, latents: tuple[int, ...], value: float) -> Tensor:
    new = f.clone()
    for each in range(f.shape[-1]):
        if method == Method.KEEP and each not in latents:
            new[..., each] = 0
        elif each in latents and method == Method.ADD:
            new[..., each] += value
        elif each in latents and method == Method.CLAMP:
            new[..., each] = value
        elif each in latents and method == Method.SCALE:
            new[..., each] *= value
        elif each in latents and method == Method.ABLATE:
            new[..., each] = 0
    return new


def projected(y: Tensor, directions: Tensor) -> Tensor:
    """By least squares, where what is tested takes an orthonormal basis."""
    along: Tensor = torch.linalg.lstsq(directions.T, y.T).solution  # (k, n)
    return y - along.T @ directions


def by_plain_hooks(hf: Any, family: str, text: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits where the second block's output is changed.  # (length, d) -> (length, d)"""
    block = hf.get_submodule(f"{BLOCKS.get(family, 'model.layers')}.1")

    def hook(_: Any, __: Any, output: Any) -> Any:
        y = output[0] if isinstance(output, tuple) else output
        new = change(y[0])[None]
        return (new, *output[1:]) if isinstance(output, tuple) else new

    with ExitStack() as stack, torch.no_grad():
        stack.callback(block.register_forward_hook(hook).remove)
        logits: Tensor = hf(input_ids=text[None], use_cache=False).logits[0]
    return logits


def means(where: Where) -> Tensor:
    prompt = torch.arange(len(TEXT)) < N_PROMPT
    return {Where.EVERYWHERE: torch.ones_like(prompt), Where.PROMPT: prompt, Where.GENERATED: ~prompt}[where]


def expected_logits(hf: Any, family: str, intervention: Intervention) -> Tensor:
    sae, latents = intervention.sae, intervention.latents
    here = means(intervention.where)

    def change(y: Tensor) -> Tensor:
        if intervention.method == Method.PROJECT:
            new = projected(y, sae.W_dec[list(latents)])
        else:
            f = sae.encode(y)
            new = y + sae.decode(changed_latents(intervention.method, f, latents, intervention.value), y)
            new = new - sae.decode(f, y)
        return torch.where(here[:, None], new, y)

    return by_plain_hooks(hf, family, TEXT, change)


def one(method: Method, sae: Sae | None = None, where: Where = Where.EVERYWHERE) -> Intervention:
    value = {Method.ADD: 1.5, Method.CLAMP: 4.0, Method.SCALE: -2.0}.get(method, 0.0)
    return Intervention(sae or made(), method, (2, 7, 11), value, where)


@every_lm
@pytest.mark.parametrize("method", list(Method))
def test_every_method_in_every_lm(family: str, method: Method) -> None:
    lm, intervention = Lm(exact_lm(family)), one(method)
    logits = steered_logits(lm, TEXT, [Run((intervention,))], N_PROMPT)[0]
    assert_close_in_float32(logits, expected_logits(lm.hf, family, intervention))
    assert (logits - lm.logits(TEXT[None])[0]).abs().max() > 1e-3


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("where", list(Where))
def test_where_it_holds(method: Method, where: Where) -> None:
    lm, intervention = Lm(exact_lm("llama")), one(method, where=where)
    logits = steered_logits(lm, TEXT, [Run((intervention,))], N_PROMPT)[0]
    assert_close(logits, expected_logits(lm.hf, "llama", intervention))
    clean = lm.logits(TEXT[None])[0]
    if where == Where.GENERATED:
        assert torch.equal(logits[:N_PROMPT], clean[:N_PROMPT])
    assert not torch.allclose(logits[N_PROMPT:], clean[N_PROMPT:], atol=1e-4)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("normalise", list(Normalise))
@pytest.mark.parametrize("method", [Method.ADD, Method.CLAMP, Method.SCALE, Method.KEEP])
def test_every_kind_of_sae(family: Family, normalise: Normalise, method: Method) -> None:
    """Changing a latent by Δ adds Δ·s·W_dec, s that token's own scale."""
    lm, intervention = Lm(exact_lm("gpt2")), one(method, made(family, normalise=normalise))
    logits = steered_logits(lm, TEXT, [Run((intervention,))], N_PROMPT)[0]
    assert_close(logits, expected_logits(lm.hf, "gpt2", intervention))


def test_without_undoing_there_is_no_scale() -> None:
    sae = made(normalise=Normalise.LAYER_NORM, undo_normalise=False)
    lm, intervention = Lm(exact_lm("gpt2")), one(Method.ADD, sae)
    logits = steered_logits(lm, TEXT, [Run((intervention,))], N_PROMPT)[0]
    assert_close(logits, expected_logits(lm.hf, "gpt2", intervention))


def test_a_centred_sae_reads_centred_and_leaves_the_mean() -> None:
    lm, sae = Lm(exact_lm("gpt2")), made(centred=True)

    def change(y: Tensor) -> Tensor:
        f = sae.encode(y - y.mean(-1, keepdim=True))
        return y + (changed_latents(Method.CLAMP, f, (2, 7, 11), 4.0) - f) @ sae.W_dec

    logits = steered_logits(lm, TEXT, [Run((one(Method.CLAMP, sae),))], N_PROMPT)[0]
    assert_close(logits, by_plain_hooks(lm.hf, "gpt2", TEXT, change))


def test_a_transcoder_reads_here_and_writes_there() -> None:
    lm = Lm(exact_lm("llama"))
    sae = made(Family.TOPK, hookpoint="blocks.1.hook_resid_pre", hookpoint_out="blocks.1.hook_resid_post", skip=True)
    below = lm.activations(TEXT[None], "blocks.1.hook_resid_pre")[0]

    def change(y: Tensor) -> Tensor:
        f = sae.encode(below)
        return y + (changed_latents(Method.SCALE, f, (2, 7, 11), -2.0) - f) @ sae.W_dec

    logits = steered_logits(lm, TEXT, [Run((one(Method.SCALE, sae),))], N_PROMPT)[0]
    assert_close(logits, by_plain_hooks(lm.hf, "llama", TEXT, change))


def test_nothing_changed_is_nothing_to_the_last_bit() -> None:
    lm, clean = Lm(exact_lm("gemma2")), Lm(exact_lm("gemma2")).logits(TEXT[None])[0]
    nowhere = Run((one(Method.CLAMP, where=Where.GENERATED),))
    alone = steered_logits(lm, TEXT, [Run()], N_PROMPT)[0]
    beside = steered_logits(lm, TEXT, [Run(), Run((one(Method.CLAMP),)), nowhere], N_PROMPT)
    not_yet = steered_logits(lm, TEXT, [nowhere], len(TEXT))[0]
    assert torch.equal(alone, clean)
    assert torch.equal(not_yet, clean)
    # Among others it is so up to rounding: products of more rows are summed otherwise, on some processors by where the
    # rows lie.
    assert_close_in_float32(beside[0], clean)
    assert_close_in_float32(beside[2][:N_PROMPT], clean[:N_PROMPT])


def test_in_low_precision_too_what_is_not_meant_stays() -> None:
    lm, sae = Lm(new_lm("llama").to(torch.bfloat16)), made().float()
    runs = [Run(), Run((Intervention(sae, Method.ADD, (3,), 9.0, Where.GENERATED),))]
    clean, logits = lm.logits(TEXT[None].expand(2, -1)), steered_logits(lm, TEXT, runs, N_PROMPT)
    assert torch.equal(logits[0], clean[0])
    assert torch.equal(logits[1][:N_PROMPT], clean[1][:N_PROMPT])
    assert not torch.equal(logits[1][N_PROMPT:], clean[1][N_PROMPT:])


@pytest.mark.parametrize("normalise", list(Normalise))
def test_without_any_latent_the_bias_and_the_error_are_left(normalise: Normalise) -> None:
    lm, sae = Lm(exact_lm("gpt2")), made(Family.RELU, normalise=normalise)

    def change(y: Tensor) -> Tensor:
        x_hat: Tensor = sae(y)
        return sae.decode(y.new_zeros(len(y), sae.n_latents), y) + (y - x_hat)

    every = Intervention(sae, Method.ABLATE, tuple(range(sae.n_latents)))
    logits = steered_logits(lm, TEXT, [Run((every,))], N_PROMPT)[0]
    assert_close(logits, by_plain_hooks(lm.hf, "gpt2", TEXT, change))


def test_beginnings_of_text_are_left_alone() -> None:
    """No SAE has learnt from them."""
    lm, text = Lm(exact_lm("llama")), torch.cat([torch.tensor([1]), TEXT])
    seen: list[Tensor] = []
    with lm.hooked({"blocks.2.hook_resid_pre": functools.partial(keep, seen)}):
        lm.logits(text[None])
        steered_logits(lm, text, [Run((one(Method.CLAMP),))], N_PROMPT)
    (clean,), (changed,) = seen
    assert torch.equal(clean[0], changed[0])
    assert ((clean[1:] - changed[1:]).abs().amax(-1) > 0.1).all()


def test_several_at_once() -> None:
    """Of one latent each its own, at two hookpoints, and two SAEs at one of them."""
    lm = Lm(exact_lm("gpt2"))
    low, first, second = made(hookpoint="blocks.0.hook_resid_post"), made(), made(Family.TOPK)
    run = Run(
        (
            Intervention(low, Method.CLAMP, (1,), 3.0),
            Intervention(first, Method.ADD, (2,), 2.0, Where.PROMPT),
            Intervention(first, Method.ABLATE, (2,), where=Where.GENERATED),
            Intervention(second, Method.SCALE, (0, 5, 9), 0.5),
            Intervention(first, Method.PROJECT, (6, 8)),
        )
    )

    def below(y: Tensor) -> Tensor:
        f = low.encode(y)
        return y + (changed_latents(Method.CLAMP, f, (1,), 3.0) - f) @ low.W_dec

    def here(y: Tensor) -> Tensor:
        f, g, prompt = first.encode(y), second.encode(y), means(Where.PROMPT)[:, None]
        by_first = torch.where(prompt, changed_latents(Method.ADD, f, (2,), 2.0), f)
        by_first = torch.where(prompt, by_first, changed_latents(Method.ABLATE, f, (2,), 0.0))
        by_second = changed_latents(Method.SCALE, g, (0, 5, 9), 0.5)
        return projected(
            y + (by_first - f) @ first.W_dec + (by_second - g) @ second.W_dec, first.W_dec[[6, 8]]
        )  # fmt: skip

    block = lm.hf.transformer.h[0]
    with ExitStack() as stack:
        stack.callback(block.register_forward_hook(lambda _, __, y: below(y[0])[None]).remove)
        expected = by_plain_hooks(lm.hf, "gpt2", TEXT, here)
    assert_close(steered_logits(lm, TEXT, [run], N_PROMPT)[0], expected)


def test_the_same_direction_twice_takes_no_other() -> None:
    lm, sae, twin = Lm(exact_lm("gpt2")), made(), made()
    once = Intervention(sae, Method.PROJECT, (2, 7))
    twice = Run((once, Intervention(twin, Method.PROJECT, (7, 2))))
    found = steered_logits(lm, TEXT, [Run((once,)), twice], N_PROMPT)
    assert_close(found[1], found[0])


@pytest.mark.parametrize("method", list(Method))
def test_a_control_changes_as_much_in_one_direction(method: Method) -> None:
    lm, intervention = Lm(exact_lm("llama")), one(method)
    seen: list[Tensor] = []
    runs = [Run(), Run((intervention,)), Run((intervention,), control=3), Run((intervention,), control=4)]
    with lm.hooked({"blocks.2.hook_resid_pre": functools.partial(keep, seen)}):
        steered_logits(lm, TEXT, runs, N_PROMPT)
    clean, steered, third, fourth = seen[0]
    norm = (steered - clean).norm(dim=-1)
    for control in (third, fourth):
        changed = control - clean
        torch.testing.assert_close(changed.norm(dim=-1), norm, rtol=1e-4, atol=1e-5)
        directions = changed[norm > 1e-3] / norm[norm > 1e-3, None]
        assert (directions - directions[0]).abs().max() < 1e-2
    assert torch.nn.functional.cosine_similarity(third - clean, fourth - clean).abs().max() < 0.9


REFUSED: list[tuple[str, Callable[[Sae], object]]] = [
    ("latent 15 does not exist; this SAE's are 0 to 14", lambda sae: Intervention(sae, Method.ABLATE, (3, 15))),
    ("latent -1 does not exist", lambda sae: Intervention(sae, Method.ABLATE, (-1,))),
    ("latent 3 is named twice", lambda sae: Intervention(sae, Method.ABLATE, (3, 3))),
    ("add: name at least one latent", lambda sae: Intervention(sae, Method.ADD, (), 1.0)),
    ("add: the value is nan, expected a finite", lambda sae: Intervention(sae, Method.ADD, (1,), float("nan"))),
    ("ablate takes no value, 2 was given", lambda sae: Intervention(sae, Method.ABLATE, (1,), 2.0)),
    (
        "add and clamp contradict each other: both say what becomes of latent 4 in the prompt",
        lambda sae: Run((Intervention(sae, Method.ADD, (4,), 1.0), Intervention(sae, Method.CLAMP, (5, 4), 1.0))),
    ),
    (
        "keep and scale contradict each other: both say what becomes of latent 4 in what is written",
        lambda sae: Run(
            (
                Intervention(sae, Method.KEEP, (5,), where=Where.GENERATED),
                Intervention(sae, Method.SCALE, (5, 4), 2.0),
            )
        ),
    ),
    (
        "keep and keep contradict each other: both say what becomes of latent 4",
        lambda sae: Run((Intervention(sae, Method.KEEP, (4, 5)), Intervention(sae, Method.KEEP, (5,)))),
    ),
    (
        "clamp and project contradict each other: both say what becomes of latent 4",
        lambda sae: Run((Intervention(sae, Method.CLAMP, (4,), 1.0), Intervention(sae, Method.PROJECT, (4,)))),
    ),
]


@pytest.mark.parametrize(("says", "make"), REFUSED, ids=[says for says, _ in REFUSED])
def test_what_is_refused(says: str, make: Callable[[Sae], object]) -> None:
    with pytest.raises(BadInput) as refused:
        make(made())
    assert str(refused.value).startswith(says) or says in str(refused.value)


def test_what_does_not_contradict() -> None:
    sae = made()
    kept = Intervention(sae, Method.KEEP, (4, 5))
    Run((kept, Intervention(sae, Method.CLAMP, (4,), 1.0), Intervention(made(), Method.CLAMP, (4,), 1.0)))
    prompt = Intervention(sae, Method.CLAMP, (4,), 1.0, Where.PROMPT)
    Run((prompt, Intervention(sae, Method.ADD, (4,), 1.0, Where.GENERATED)))


def test_an_sae_of_another_lm_is_refused() -> None:
    sae = random_saes.make(Family.RELU, hookpoint="blocks.1.hook_resid_post")
    with pytest.raises(BadInput, match=r"the SAE reads 6 numbers a token, and blocks.1.hook_resid_post of gpt2 has 16"):
        steered_logits(Lm(exact_lm("gpt2")), TEXT, [Run((Intervention(sae, Method.ABLATE, (0,)),))], 3)
