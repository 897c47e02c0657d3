"""Token ids in .npy files, which anybody may have made."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core.errors import BadInput, DoubtfulInput

CHECKED_TOGETHER = 1 << 20  # ids


def tokens_from_npy(path: str | Path, *, context_length: int | None = None, n_vocab: int | None = None) -> NDArray[Any]:
    """Contexts of ids, read from the disk as they are needed: (contexts, length) as it is, or one row of ids cut into
    contexts, without what is left at its end. Every id is looked at once."""
    path = Path(path)
    ids = map_npy(path)
    if ids.dtype.kind not in "iu":
        raise BadInput(f"{path}: {ids.dtype}, expected whole numbers, the ids of tokens")
    if ids.ndim == 1:
        if context_length is None:
            raise BadInput(f"{path}: one row of {len(ids):,} ids; say how long a context is (context_length)")
        if context_length < 1:
            raise BadInput(f"context_length is {context_length}, expected at least 1")
        contexts = ids[: len(ids) // context_length * context_length].reshape(-1, context_length)
    elif ids.ndim == 2:
        if context_length not in (None, ids.shape[1]):
            raise BadInput(f"{path}: contexts of {ids.shape[1]} ids, expected {context_length}; flatten it to cut anew")
        contexts = ids
    else:
        raise BadInput(f"{path}: shape {ids.shape}, expected (contexts, context_length) or one row of ids")
    if contexts.size == 0:
        raise BadInput(f"{path}: {ids.size} ids, not one context")
    if (left := ids.size - contexts.size) * 100 > ids.size:
        said = f"{path}: the last {left} of {ids.size} ids do not fill a context of {context_length}: left out"
        warnings.warn(said, DoubtfulInput, stacklevel=2)
    _check_ids(path, contexts, n_vocab)
    return contexts


def _check_ids(path: Path, contexts: NDArray[Any], n_vocab: int | None) -> None:
    rows = max(CHECKED_TOGETHER // contexts.shape[1], 1)
    for start in range(0, len(contexts), rows):
        block = contexts[start : start + rows]
        wrong = block < 0 if n_vocab is None else (block < 0) | (block >= n_vocab)
        if wrong.any():
            row, position = np.argwhere(wrong)[0].tolist()
            allowed = "0 or more" if n_vocab is None else f"0 to {n_vocab - 1}"
            found = f"id {block[row, position]} in context {start + row} at {position}"
            raise BadInput(f"{path}: {found}, expected {allowed}")


def map_npy(path: Path) -> NDArray[Any]:
    """An array on the disk. Never unpickles."""
    if not path.is_file():
        raise BadInput(f"{path}: missing")
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy reads a header as Python and lets through whatever goes wrong there
        raise BadInput(f"{path}: not an .npy file that can be read: {error}") from error
    return array
