"""What a user can be wrong about: refusals and warnings that say what was found where, and what to do."""


class BadInput(ValueError):
    """Something given cannot be used: a file, a tensor, a name, text. The message names it, expected and found."""


class DoubtfulInput(UserWarning):
    """Something given can be used and is probably not what was meant."""
