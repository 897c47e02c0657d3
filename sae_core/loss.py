"""Losses as pure functions. Squared error is summed over d and averaged over tokens, which λ depends on."""

from torch import Tensor


def squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """mean over tokens of ‖x − x̂‖²  # (n, d), (n, d) -> ()"""
    return (x - x_hat).square().sum(-1).mean()


def weighted_l1(acts: Tensor, W_dec: Tensor) -> Tensor:
    """mean over tokens of Σ |f_i|·‖d_i‖: large decoder rows with small latents gain nothing.

    At f = 0 its derivative is 0: what does not fire is not pushed.  # (n, n_latents), (n_latents, d) -> ()
    """
    norms: Tensor = W_dec.norm(dim=1)
    return (acts.abs() * norms).sum(-1).mean()
