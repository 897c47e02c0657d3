"""What an "Add an SAE" names, read: the lm, the SAE in whatever format, the text. Nothing of it is a row yet."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer import artifacts
from explorer.work.attempt import Attempt, Refused
from sae_core import BadInput, Lm, build_corpus, load_sae, neurons, random_directions
from sae_core import Corpus as OpenedCorpus
from sae_core import Sae as CoreSae

CONTEXT_LENGTH = 128


@dataclass(frozen=True)
class Given:
    """The SAE as it came, and what to call it."""

    sae: CoreSae
    name: str
    source: str


def sae_given(arguments: dict[str, Any], lm: Lm, folder: Path) -> Given:
    given = arguments["sae"]
    if isinstance(given, dict):
        folder.mkdir()
        for name, sha256 in given["files"].items():
            os.symlink(artifacts.path(sha256), folder / Path(name).name)
        sae, source = load_sae(folder, device=str(lm.device)), "uploaded"
        name = next(iter(given["files"]))
    else:
        sae, source, name = _named(given, lm), given, Path(given).name
    hookpoint = arguments.get("hookpoint")
    if hookpoint:
        sae = sae.with_config(hookpoint=hookpoint)
    return Given(sae.to(lm.device), arguments.get("name") or name, source)


def _named(given: str, lm: Lm) -> CoreSae:
    """neurons:HOOKPOINT and random:HOOKPOINT:LATENTS[:SEED] are the baseline and the control."""
    kind, _, rest = given.partition(":")
    if kind not in ("neurons", "random") or not rest or Path(given).exists():
        return load_sae(given, device=str(lm.device))
    hookpoint, *numbers = rest.split(":")
    if kind == "neurons" and not numbers:
        return neurons(hookpoint, lm.width(hookpoint))
    if kind == "random" and 1 <= len(numbers) <= 2 and all(each.isdecimal() for each in numbers):
        n_latents, seed = (*map(int, numbers), 0)[:2]
        return random_directions(hookpoint, lm.width(hookpoint), n_latents, seed=seed)
    raise BadInput(f"{given}: expected neurons:HOOKPOINT or random:HOOKPOINT:LATENTS[:SEED]")


def text_given(
    attempt: Attempt, arguments: dict[str, Any], lm: Lm, sae: CoreSae, out: Path, *, bos: bool | None = None
) -> Path:
    """A corpus's folder: one that is there, or `out`, in which one is made of text or ids."""
    if "corpus" in arguments:
        return Path(arguments["corpus"])
    sources = [arguments["tokens"]] if "tokens" in arguments else arguments["text"]
    length = _context_length(attempt, arguments, lm, sae)
    prepend_bos = sae.config.prepend_bos if bos is None else bos
    if prepend_bos is None:
        prepend_bos = True
        if "tokens" not in arguments:
            attempt.emit("The SAE does not say whether contexts begin with a beginning-of-text token; they do.\n")
    made = build_corpus(
        sources,
        lm.tokenizer,
        out,
        context_length=None if "tokens" in arguments and not arguments.get("context_length") else length,
        prepend_bos=prepend_bos,
        on_progress=lambda progress: attempt.report(
            done=progress.bytes_read, total=progress.total_bytes, unit="bytes", message="Text into tokens"
        ),
    )
    if not made.config.contexts:
        raise Refused("There is no text in what was given.")
    return out


def check_tokens(lm: Lm, opened: OpenedCorpus) -> None:
    """That the lm can read them: its own tokenizer's ids, and no more than it takes at once."""
    if lm.tokenizer:
        opened.check_tokenizer(lm.tokenizer)
    length, largest = opened.contexts.shape[1], int(opened.contexts.max())
    if lm.max_length is not None and length > lm.max_length:
        raise BadInput(
            f"{opened.folder.name}: contexts of {length} tokens; {lm.name} takes at most {lm.max_length}. "
            "Name a shorter context length"
        )
    if largest >= lm.n_vocab:
        raise BadInput(f"{opened.folder.name}: token id {largest}; the ids of {lm.name} are 0 to {lm.n_vocab - 1}")


def _context_length(attempt: Attempt, arguments: dict[str, Any], lm: Lm, sae: CoreSae) -> int:
    asked: int | None = arguments.get("context_length")
    if asked:
        return asked
    if sae.config.context_length:
        return min(sae.config.context_length, lm.max_length or sae.config.context_length)
    length = min(CONTEXT_LENGTH, lm.max_length or CONTEXT_LENGTH)
    if "tokens" not in arguments:
        attempt.emit(f"The SAE does not say how long the contexts of its training were; they are {length} tokens.\n")
    return length
