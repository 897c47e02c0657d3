"""Silent latents drawn anew where the SAE errs most (Bricken 2023)."""

import torch
from torch import Tensor

ENCODER_SHARE = 0.2  # of the mean norm of living encoder columns


@torch.no_grad()
def resample(
    weights: dict[str, Tensor], moments: dict[str, list[Tensor]], silent: Tensor, z: Tensor, errors: Tensor, seed: int
) -> Tensor:
    """Gives each silent latent an input, drawn with a chance that grows with its squared loss: the decoder row is that
    input at norm 1, the encoder's the same direction at a fifth of the living ones' mean norm, the bias 0, and the
    optimiser has seen nothing of them yet.

    `z` is what the encoder reads, `errors` each input's ‖x − x̂‖², `silent` a mask.  # (n, d), (n), (n_latents)
    """
    latents = silent.nonzero().flatten()
    if not len(latents) or not errors.sum() > 0 or not errors.isfinite().all():
        return latents[:0]
    generator = torch.Generator().manual_seed(seed)
    chances = errors.double().cpu() / errors.double().max().cpu()  # squared below; the largest as 1, none overflows
    chances = chances.square()
    anew = len(latents) > int((chances > 0).sum())  # fewer inputs than latents: some are drawn twice
    drawn = torch.multinomial(chances, len(latents), replacement=anew, generator=generator).to(z.device)
    directions = z[drawn] / z[drawn].norm(dim=1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
    living = weights["enc_rows"][~silent]
    norm = living.norm(dim=1).mean() if len(living) else weights["enc_rows"].new_ones(())
    weights["W_dec"][latents] = directions
    weights["enc_rows"][latents] = directions * (ENCODER_SHARE * norm)
    weights["b_enc"][latents] = 0
    for name in ("W_dec", "enc_rows", "b_enc"):
        for each in moments[name]:
            each[latents] = 0
    return latents
