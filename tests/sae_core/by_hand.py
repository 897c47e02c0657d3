"""The worked example: five tokens, six latents, integer weights, and every number that follows from them."""

import torch

from sae_core.config import Family, SaeConfig
from sae_core.sae import Sae

X = torch.tensor(
    [[10, 17, 5], [0, 20, 8], [4, 18, 8], [5, 15, 6], [3, 13, 6]], dtype=torch.float64
)  # (tokens, d): a row is a token, where the text has columns
LATENTS = ("Bridge", "Brain", "Monuments", "Transit", "Park", "Mountain")
W_ENC = torch.tensor(
    [[-1, 1, 0], [0, 1, -1], [1, -1, 0], [0, 0, -1], [2, -1, 0], [0, 1, 1]], dtype=torch.float64
).T.contiguous()  # (d, latents)
B_ENC = torch.tensor([-15, -11, 8, 2, 8, -25], dtype=torch.float64)
W_DEC = torch.tensor(
    [[1, 0, 0], [1, 0, 0], [1, -1, 0], [0, -1, 0], [0, -1, 1], [0, 0, -1]], dtype=torch.float64
)  # (latents, d)
B_DEC = torch.tensor([0, 0, 2], dtype=torch.float64)


def sae() -> Sae:
    config = SaeConfig(Family.RELU, d_in=3, n_latents=6)
    return Sae(config, {"W_enc": W_ENC.clone(), "W_dec": W_DEC.clone(), "b_enc": B_ENC.clone(), "b_dec": B_DEC.clone()})
