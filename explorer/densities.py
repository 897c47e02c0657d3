"""What a count of firings says: n of N tokens, how sure that is, and what may be concluded.

The same as sae_core.density, which a web process does not load; a test holds the two together.
"""

from enum import StrEnum

DENSE = 0.1  # of all tokens
ULTRA_LOW = 10  # firings, below which a feature counts as such …
ENOUGH = 10_000_000  # … if so many tokens have been read
Z = 1.959964  # 95 %, two-sided


class Kind(StrEnum):
    NEVER_FIRED = "never fired"  # which is not dead: see at_most
    TOO_FEW_TOKENS = "too few tokens to tell"
    ULTRA_LOW = "ultra-low"
    ORDINARY = "ordinary"
    DENSE = "dense"


def kind(n_fired: int, tokens: int) -> Kind:
    if n_fired == 0:
        return Kind.NEVER_FIRED
    if n_fired > DENSE * tokens:
        return Kind.DENSE
    if n_fired < ULTRA_LOW:
        return Kind.ULTRA_LOW if tokens >= ENOUGH else Kind.TOO_FEW_TOKENS
    return Kind.ORDINARY


def at_most(tokens: int) -> float:
    """What the density of a feature that never fired may be, with 95 % confidence: the rule of three."""
    return min(1.0, 3 / tokens) if tokens else 1.0


def interval(n_fired: int, tokens: int) -> tuple[float, float]:
    """Between which densities the true one lies, with 95 % confidence (Wilson's, which holds for small counts)."""
    density = n_fired / tokens
    middle = density + Z**2 / (2 * tokens)
    half = Z * (density * (1 - density) / tokens + Z**2 / (4 * tokens**2)) ** 0.5
    low, high = ((middle + sign * half) / (1 + Z**2 / tokens) for sign in (-1, 1))
    return (0.0 if n_fired == 0 else low, 1.0 if n_fired == tokens else high)
