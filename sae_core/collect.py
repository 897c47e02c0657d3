"""Collecting: an SAE read over a corpus, once. `sae_core.evidence` says what comes of it.

All at once by `collect_evidence`; or in parts, anywhere and in any order, by `collect_part`, and of all parts one
evidence by `finish`. Both give the same to the last integer, and sums to 1e-12, as long as parts are cut where `shards`
cuts them.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core import heap
from sae_core.array_files import ArrayFile, write_arrays
from sae_core.attached import Attached
from sae_core.collecting import weights
from sae_core.collecting.accumulators import Accumulators
from sae_core.collecting.lists import figures_and_lists
from sae_core.collecting.looking_up import Audit, Documents, ExampleFiles, Examples, ranges, read_spills
from sae_core.collecting.parts import kept_in, open_part, write_part
from sae_core.collecting.passing import OnBatch, Reader, Text, read_text
from sae_core.collecting.spill import Spill
from sae_core.collecting.together import cofiring
from sae_core.errors import BadInput
from sae_core.evidence import AUDIT_TOKENS, FORMAT
from sae_core.lm import Lm
from sae_core.sae import Sae

BATCH_TOKENS = 1 << 13
MOST_LATENTS = 1 << 21
MOST_PAIRS = 1 << 31  # of a latent and a context of one batch

OnStep = Callable[[int, int, str], None]  # done, of how much, what; what it raises ends the work


@dataclass(frozen=True)
class CollectConfig:
    top_k: int = 20
    mask_ids: tuple[int, ...] | None = None
    """Ids that do not count; None: the lm's bos and pad."""
    batch_contexts: int | None = None
    """Contexts in one forward; None: as many as have some 8,000 tokens. Parts are cut at multiples of it."""
    audit_tokens: int = AUDIT_TOKENS

    def __post_init__(self) -> None:
        for name, value in (("top_k", self.top_k), ("batch_contexts", self.batch_contexts)):
            if value is not None and value < 1:
                raise BadInput(f"{name} is {value}, expected at least 1")
        if self.audit_tokens < 0:
            raise BadInput(f"audit_tokens is {self.audit_tokens}, expected 0 or more")

    def batch(self, length: int) -> int:
        return self.batch_contexts or max(1, BATCH_TOKENS // length)


def shards(n_contexts: int, batch_contexts: int, n_parts: int) -> list[tuple[int, int]]:
    """About equal ranges of contexts, cut at multiples of the batch; fewer than asked where there is less to cut."""
    batches = -(-n_contexts // batch_contexts)
    n_parts = max(1, min(n_parts, batches))
    cuts = [part * batches // n_parts * batch_contexts for part in range(n_parts)] + [n_contexts]
    return list(pairwise(cuts))


@heap.kept()
def collect_evidence(
    lm: Lm,
    saes: Sequence[Sae],
    contexts: NDArray[Any],
    outs: Sequence[str | Path],
    config: CollectConfig | None = None,
    *,
    lengths: NDArray[Any] | None = None,
    pieces: NDArray[Any] | None = None,
    on_batch: OnBatch | None = None,
    on_step: OnStep | None = None,
) -> list[dict[str, Any]]:
    """Each SAE's evidence, at `outs`, from one pass; what each says of itself.

    `pieces` are a corpus's: without them it is not known in how many documents a latent fires.
    """
    with _scratch(Path(outs[0]).parent) as folder:
        parts = [folder / f"part-{number}" for number in range(len(saes))]
        collect_part(lm, saes, contexts, parts, config, lengths=lengths, on_batch=on_batch)
        return [
            finish(lm, sae, [part], out, config, contexts=contexts, pieces=pieces, on_step=on_step)
            for sae, part, out in zip(saes, parts, outs, strict=True)
        ]


@heap.kept()
def collect_part(
    lm: Lm,
    saes: Sequence[Sae],
    contexts: NDArray[Any],
    paths: Sequence[str | Path],
    config: CollectConfig | None = None,
    *,
    first: int = 0,
    stop: int | None = None,
    lengths: NDArray[Any] | None = None,
    on_batch: OnBatch | None = None,
) -> None:
    """What some of the contexts say of each SAE, in a file each. SAEs share the forward, which goes as far as the last
    hookpoint of any.  # contexts (contexts, length)"""
    config = config or CollectConfig()
    attached = [Attached(lm, sae) for sae in saes]
    stop = len(contexts) if stop is None else stop
    _check(lm, saes, contexts, lengths, first, stop)
    length = contexts.shape[1]
    _check_batch(saes, config.batch(length))
    mask_ids = lm.mask_ids if config.mask_ids is None else config.mask_ids
    text = Text(contexts, lengths, mask_ids, config.batch(length), lm.device)
    with ExitStack() as stack:
        readers = []
        for each, path in zip(attached, paths, strict=True):
            folder = stack.enter_context(_scratch(Path(path).parent))
            spill = Spill(folder, Path(path))
            stack.callback(spill.close)
            neurons = weights.has_neurons(lm, each.sae.hookpoint)
            readers.append(Reader(each, length, config.top_k, spill, neurons=neurons))
        read_text(lm, readers, text, first, stop, on_batch)
        for reader, path in zip(readers, paths, strict=True):
            about = {
                "sae": repr(reader.attached.sae),
                "first": first,
                "stop": stop,
                "context_length": length,
                "mask_ids": list(mask_ids),
                "batch_contexts": text.batch,
            }
            write_part(Path(path), reader.kept, reader.spill, about)


@heap.kept()
def finish(
    lm: Lm,
    sae: Sae,
    parts: Sequence[str | Path],
    out: str | Path,
    config: CollectConfig | None = None,
    *,
    contexts: NDArray[Any],
    pieces: NDArray[Any] | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """One evidence of parts that cover all contexts, in whatever order they are given."""
    opened = _in_order([open_part(Path(part)) for part in parts], sae, contexts)
    if config:
        _check_asked(config, opened[0])
    config = config or CollectConfig()
    length = int(opened[0].about["context_length"])
    kept = kept_in(opened[0])
    for part in opened[1:]:
        kept.join(kept_in(part))
    if not kept.tokens:
        masked = ", ".join(map(str, opened[0].about["mask_ids"])) or "none"
        raise BadInput(f"none of the tokens counts: all are padding or masked ids ({masked})")
    with _scratch(Path(out).parent) as folder:
        steps = _Steps(on_step)
        arrays: dict[str, Any] = dict(figures_and_lists(kept))
        arrays |= _looked_up(opened, arrays, folder, Path(out), length, pieces, kept, config, steps)
        arrays |= cofiring(arrays, sae.n_latents, steps.named("Which latents fire together"))
        arrays |= weights.geometry_of(sae, steps.named("Nearest latents"))
        arrays |= weights.lenses(lm, sae, steps.named("Logits"))
        arrays |= weights.neurons_of(lm, sae, kept)
        about = _about(lm, sae, opened, kept, contexts, config)
        steps.named("Writing")()
        write_arrays(Path(out), arrays, about)
    return about


def _looked_up(
    parts: Sequence[ArrayFile],
    arrays: dict[str, Any],
    folder: Path,
    out: Path,
    length: int,
    pieces: NDArray[Any] | None,
    kept: Accumulators,
    config: CollectConfig,
    steps: "_Steps",
) -> dict[str, Any]:
    audit = Audit(kept.tokens, config.audit_tokens)
    documents = None if pieces is None else Documents(kept.n_latents, pieces)
    files = ExampleFiles(folder, out, kept.n_latents)
    for first, stop in ranges(kept.n_latents):
        examples = Examples.of(arrays, first, stop)
        others = [each for each in (audit, documents) if each] if first == 0 else []
        read_spills(parts, length, [examples, *others], steps.named("Examples"))
        files.add(examples)
    counts = np.full(kept.n_latents, -1) if documents is None else documents.counts
    return files.arrays() | audit.arrays() | {"n_documents": counts}


def _about(
    lm: Lm,
    sae: Sae,
    parts: Sequence[ArrayFile],
    kept: Accumulators,
    contexts: NDArray[Any],
    config: CollectConfig,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "evidence",
        "lm": lm.name,
        "sae": repr(sae),
        "hookpoint": sae.hookpoint,
        "hookpoint_out": sae.hookpoint_out,
        "latents": sae.n_latents,
        "contexts": len(contexts),
        "context_length": contexts.shape[1],
        "tokens": kept.tokens,
        "masked": kept.masked,
        "mask_ids": parts[0].about["mask_ids"],
        "batch_contexts": parts[0].about["batch_contexts"],
        "top_k": kept.top_k,
        "audit_tokens": config.audit_tokens,
        "device": lm.device.type,
        "dtype": str(lm.dtype).removeprefix("torch."),
    }


class _Steps:
    """Counts steps of work of which nobody knows beforehand how many there will be."""

    def __init__(self, on_step: OnStep | None) -> None:
        self._on_step, self._done = on_step, 0

    def named(self, what: str) -> Callable[[], None]:
        def step() -> None:
            self._done += 1
            if self._on_step:
                self._on_step(self._done, 0, what)

        return step


def _check(
    lm: Lm, saes: Sequence[Sae], contexts: NDArray[Any], lengths: NDArray[Any] | None, first: int, stop: int
) -> None:
    if not saes:
        raise BadInput("there is no SAE to collect")
    if contexts.ndim != 2 or contexts.dtype.kind not in "iu" or not contexts.size:
        raise BadInput(
            f"the tokens are {contexts.dtype} of shape {contexts.shape}, expected whole numbers of (contexts, length), "
            "both above 0; is the corpus empty?"
        )
    if lm.max_length is not None and contexts.shape[1] > lm.max_length:
        raise BadInput(f"the contexts are {contexts.shape[1]} tokens long; {lm.name} takes at most {lm.max_length}")
    if not 0 <= first < stop <= len(contexts):
        raise BadInput(f"contexts {first} to {stop} are asked for; there are {len(contexts)}")
    if lengths is not None and lengths.shape != contexts.shape[:1]:
        raise BadInput(f"the lengths are of shape {lengths.shape}, expected one for each of {len(contexts)} contexts")
    if contexts.shape[1] > 1 << 16 or len(contexts) > 1 << 31:
        raise BadInput(f"{contexts.shape}: at most 2^31 contexts of 65,536 tokens can be told apart")
    if wide := [sae for sae in saes if sae.n_latents > MOST_LATENTS]:
        raise BadInput(f"{wide[0]}: {wide[0].n_latents:,} latents, expected at most {MOST_LATENTS:,}")


def _check_batch(saes: Sequence[Sae], batch: int) -> None:
    most = max(sae.n_latents for sae in saes)
    if batch * most >= MOST_PAIRS:
        raise BadInput(f"batches of {batch:,} contexts and {most:,} latents: take smaller ones (batch_contexts)")


def _in_order(parts: list[ArrayFile], sae: Sae, contexts: NDArray[Any]) -> list[ArrayFile]:
    """Refused unless they are of one collection and cover each of its contexts once."""
    if not parts:
        raise BadInput("there are no parts to make evidence of")
    parts.sort(key=lambda part: int(part.about["first"]))
    at = 0
    for part in parts:
        about = part.about
        if about["sae"] != repr(sae):
            raise BadInput(f"{part.path}: of {about['sae']}, expected {sae!r}; it is a part of another collection")
        if about["first"] != at:
            why = "is a part missing?" if about["first"] > at else "is a part there twice?"
            raise BadInput(f"{part.path}: begins at context {about['first']}, expected {at}; {why}")
        at = int(about["stop"])
        same = ("context_length", "mask_ids", "top_k", "batch_contexts")
        if differs := [name for name in same if about[name] != parts[0].about[name]]:
            raise BadInput(f"{part.path}: its {differs[0]} is not that of {parts[0].path}")
    last, (n_contexts, length) = parts[-1], contexts.shape
    if at != n_contexts:
        raise BadInput(f"{last.path}: the last part ends at context {at}, expected {n_contexts}; is one missing?")
    if last.about["context_length"] != length:
        raise BadInput(f"{last.path}: of contexts of {last.about['context_length']} tokens, expected {length}")
    return parts


def _check_asked(config: CollectConfig, part: ArrayFile) -> None:
    for name in ("top_k", "mask_ids", "batch_contexts"):
        asked = getattr(config, name)
        asked = list(asked) if isinstance(asked, tuple) else asked
        if asked is not None and asked != part.about[name]:
            raise BadInput(f"{part.path}: its {name} is {part.about[name]}, expected {asked}")


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder next to what is written, on a disk that is to have room."""
    try:
        beside.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=beside, prefix=".collecting-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BadInput(f"{beside}: nothing can be written there ({error.strerror or error})") from error
    with made as folder:
        yield Path(folder)
