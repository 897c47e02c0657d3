"""What varies over a training, as functions of the step."""


def warmed(step: int, steps: int, warmup: float) -> float:
    """Rises from just above 0 to 1 over the first `warmup` of all steps."""
    rising = round(warmup * steps)
    return 1.0 if step >= rising else (step + 1) / rising


def decayed(step: int, steps: int, decay: float) -> float:
    """Falls from 1 to just above 0 over the last `decay` of all steps."""
    falling = round(decay * steps)
    left = steps - step
    return 1.0 if left > falling else left / (falling + 1)


def at(step: int, steps: int, shares: tuple[float, ...]) -> bool:
    """Whether one of the shares of all steps ends with this step."""
    return any(step == round(share * steps) for share in shares)
