"""What an "Add an SAE" names, read: the lm, the SAE in whatever format, the text. Nothing of it is a row yet."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer import artifacts
from explorer.models import Corpus
from explorer.work.attempt import Attempt, Refused
from sae_core import BadInput, DoubtfulInput, Lm, build_corpus, load_sae, untrained
from sae_core import Corpus as OpenedCorpus
from sae_core import Sae as CoreSae
from sae_core.attached import Attached
from sae_core.token_files import map_npy

CONTEXT_LENGTH = 128


@dataclass(frozen=True)
class Given:
    """The SAE as it came, and what to call it."""

    sae: CoreSae
    name: str
    source: str


def sae_given(arguments: dict[str, Any], lm: Lm, folder: Path) -> Given:
    """Of the widths that its place in the lm has. `folder` is where uploaded files are put together."""
    given = arguments["sae"]
    if isinstance(given, dict):
        name, source = next(iter(given["files"])), "uploaded"
        sae = _uploaded(given["files"], lm, folder)
    else:
        name, source = Path(given).name, given
        sae = (None if Path(given).exists() else untrained(given, lm.width)) or load_sae(given, device=str(lm.device))
    if hookpoint := arguments.get("hookpoint"):
        sae = sae.with_config(hookpoint=hookpoint)
    sae = sae.to(lm.device)
    Attached(lm, sae)
    return Given(sae, arguments.get("name") or name, source)


def _uploaded(files: dict[str, str], lm: Lm, folder: Path) -> CoreSae:
    folder.mkdir()
    try:
        for name, sha256 in files.items():
            os.symlink(artifacts.path(sha256), folder / Path(name).name)
    except artifacts.ArtifactMissing:
        raise Refused("The uploaded files are no longer there; upload them again.") from None
    try:
        return load_sae(folder, device=str(lm.device))
    except BadInput as error:  # where they lie for a moment is no use to anybody
        raise BadInput(str(error).replace(f"{folder}/", "").replace(str(folder), "the upload")) from error


def text_given(
    attempt: Attempt, arguments: dict[str, Any], lm: Lm, sae: CoreSae, out: Path, *, bos: bool | None = None
) -> Path:
    """A corpus's folder: one that is there, or `out`, in which one is made of text or ids, read as the SAE was trained
    where it says how, else as this says."""
    if "corpus" in arguments:
        return Path(arguments["corpus"])
    ids = arguments.get("tokens")
    length = arguments.get("context_length")
    if length is None and (ids is None or map_npy(Path(ids)).ndim == 1):
        length = _context_length(attempt, lm, sae)
    if length and lm.max_length and length > lm.max_length:
        raise BadInput(f"contexts of {length} tokens are asked for; {lm.name} takes at most {lm.max_length}")
    prepend_bos = sae.config.prepend_bos if bos is None else bos
    if prepend_bos is None:
        prepend_bos = True
        if ids is None:
            attempt.emit("The SAE does not say whether contexts began with a beginning-of-text token; here they do.\n")
    at_most = arguments.get("contexts")
    build_corpus(
        arguments["text"] if ids is None else [ids],
        lm.tokenizer,
        out,
        context_length=length,
        prepend_bos=prepend_bos,
        max_tokens=at_most * length if at_most and length else None,
        on_progress=lambda progress: attempt.report(
            done=progress.bytes_read, total=progress.total_bytes, unit="bytes", message="Text into tokens"
        ),
    )
    return out


def check_tokens(lm: Lm, opened: OpenedCorpus, called: str) -> None:
    """That the lm can read them: its own tokenizer's ids, and no more than it takes at once."""
    if lm.tokenizer and opened.config.fingerprint not in (None, lm.tokenizer.fingerprint):
        raise BadInput(
            f"{called}: its tokens were made by another tokenizer than that of {lm.name}; take the text itself, or the "
            "lm whose tokenizer it was"
        )
    length = opened.contexts.shape[1]
    if lm.max_length is not None and length > lm.max_length:
        raise BadInput(f"{called}: contexts of {length} tokens; {lm.name} takes at most {lm.max_length}")
    if (largest := int(opened.contexts.max())) >= lm.n_vocab:
        raise BadInput(f"{called}: token id {largest}; the ids of {lm.name} are 0 to {lm.n_vocab - 1}")


def known_corpus(arguments: dict[str, Any]) -> Corpus | None:
    """One that is here already, by its slug."""
    return Corpus.objects.filter(slug=arguments.get("corpus", "")).first()


def corpus_name(arguments: dict[str, Any]) -> str:
    """What somebody calls it, or what it is made of."""
    if name := arguments.get("corpus_name"):
        return str(name)
    sources = arguments.get("text") or [arguments.get("tokens") or arguments["corpus"]]
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return f"{Path(sources[0]).name}{more}"


@contextmanager
def doubts_told(attempt: Attempt) -> Iterator[None]:
    """What looks wrong and can be used is said in the job's text. For one thread at a time: Python's warnings are."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DoubtfulInput)
        yield
    for each in said:
        if issubclass(each.category, DoubtfulInput):
            attempt.emit(f"{each.message}\n")


def tell_precision(attempt: Attempt, lm: Lm, sae: CoreSae) -> None:
    trained_in, read_in = (each.removeprefix("torch.") for each in (sae.config.dtype, str(lm.dtype)))
    if trained_in not in ("", read_in):
        attempt.emit(f"The SAE was trained in {trained_in}; {lm.name} is read in {read_in}.\n")


def _context_length(attempt: Attempt, lm: Lm, sae: CoreSae) -> int:
    trained_on, most = sae.config.context_length, lm.max_length
    length = min(trained_on or CONTEXT_LENGTH, most or trained_on or CONTEXT_LENGTH)
    if trained_on is None:
        attempt.emit(f"The SAE does not say how long the contexts of its training were; here they are {length}.\n")
    elif length < trained_on:
        attempt.emit(f"The SAE was trained on contexts of {trained_on} tokens; {lm.name} takes at most {most}.\n")
    return length
