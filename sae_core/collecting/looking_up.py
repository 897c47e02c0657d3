"""What is read off the spilled firings at the end: the chosen examples' activations, documents, the audit sample."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sae_core.array_files import ArrayFile, Streamed, not_written
from sae_core.collecting.lists import Arrays
from sae_core.collecting.spill import Scanned, scan
from sae_core.collecting.tables import distinct, mixed, run_starts, stable_order

LISTS = ("top", "distinct", "interval", "strip", "near")
LATENTS = 1 << 16  # whose examples are looked up in one reading of the spill
TABLE = 1 << 22  # entries of (contexts, latents) at a time
SALT = np.array([0x5AE], np.int64)  # so that the audit's tokens are drawn apart from the lists'

Step = Callable[[], None]  # called between two pieces of work; what it raises ends it


class Looker(Protocol):
    def see(self, scanned: Scanned, length: int) -> None: ...


def read_spills(parts: Sequence[ArrayFile], length: int, lookers: Sequence[Looker], step: Step) -> None:
    """Every firing once, by rising context."""
    for part in parts:
        for scanned in scan(part, int(part.about["first"]), length):
            for each in lookers:
                each.see(scanned, length)
            step()


class Documents:
    """In how many documents each latent fires; documents follow one another."""

    def __init__(self, n_latents: int, pieces: NDArray[np.int64]) -> None:
        self.counts = np.zeros(n_latents, np.int64)
        self._last = np.full(n_latents, -1, np.int64)
        self._pieces = pieces  # (pieces, 4) context, position, document, offset

    def see(self, scanned: Scanned, length: int) -> None:
        n_tokens = len(scanned.counted)
        first, end = np.searchsorted(self._pieces[:, 0], [scanned.first, scanned.first + n_tokens // length])
        pieces = np.asarray(self._pieces[first:end])
        begins = (pieces[:, 0] - scanned.first) * length + pieces[:, 1]
        firsts = run_starts(pieces[:, 0])  # of each context
        begins[firsts] -= pieces[firsts, 1]  # a bos goes with the tokens after it
        document = np.repeat(pieces[:, 2], np.diff(np.append(begins, n_tokens)))
        pairs = distinct((scanned.latent.astype(np.int64) << 32) | document[scanned.token])
        latent, document = pairs >> 32, pairs & 0xFFFFFFFF
        new = document > self._last[latent]
        self.counts += np.bincount(latent[new], minlength=len(self.counts))
        np.maximum.at(self._last, latent, document)


class Audit:
    """Tokens drawn uniformly from all that count, at most so many, with all that fires there."""

    def __init__(self, tokens: int, at_most: int) -> None:
        self._limit = np.uint64(min(at_most / max(tokens, 1), 1.0) * 2**53)
        self._at_most = at_most
        self._tokens: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._latents: list[NDArray[np.int32]] = []
        self._acts: list[NDArray[np.float32]] = []

    def see(self, scanned: Scanned, length: int) -> None:
        token = np.arange(len(scanned.counted)) + scanned.first * length
        drawn = scanned.counted & ((mixed(SALT, token) >> np.uint64(11)) < self._limit)
        self._tokens.append(token[drawn])
        self._counts.append(np.diff(scanned.starts)[drawn])
        fires = drawn[scanned.token]
        self._latents.append(scanned.latent[fires])
        self._acts.append(scanned.act[fires])

    def arrays(self) -> Arrays:
        tokens, counts = (np.concatenate(each) for each in (self._tokens, self._counts))
        latents, acts = np.concatenate(self._latents), np.concatenate(self._acts)
        starts = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        if len(tokens) > self._at_most:  # by chance, a few: those of the highest lots are left out
            lots = mixed(SALT, tokens)
            kept = np.sort(np.argsort(lots, kind="stable")[: self._at_most])
            fires = np.repeat(np.isin(np.arange(len(tokens)), kept), counts)
            tokens, counts, latents, acts = tokens[kept], counts[kept], latents[fires], acts[fires]
            starts = np.zeros(len(tokens) + 1, np.int64)
            np.cumsum(counts, out=starts[1:])
        return {
            "audit_token": tokens,
            "audit_start": starts,
            "audit_latent": latents,
            "audit_act": acts,
        }


@dataclass
class Examples:
    """The examples of some neighbouring latents: each context of their lists once, by latent and context."""

    first: int  # latent
    stop: int
    n_latents: int
    latent: NDArray[np.int64]  # of each example
    context: NDArray[np.int64]
    _found: list[tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]] = field(default_factory=list)

    @classmethod
    def of(cls, arrays: Arrays, first: int, stop: int) -> "Examples":
        columns = [arrays[f"{name}_context"][first:stop].reshape(stop - first, -1) for name in LISTS]
        context = np.concatenate(columns, axis=1)
        latent = np.broadcast_to(np.arange(first, stop)[:, None], context.shape)
        pairs = distinct((latent[context >= 0] << 32) | context[context >= 0])
        return cls(first, stop, len(arrays["n_fired"]), pairs >> 32, pairs & 0xFFFFFFFF)

    def __post_init__(self) -> None:
        self._by_context = stable_order(self.context)
        self._contexts = self.context[self._by_context]
        self._table = np.full(0, -1, np.int32)

    def see(self, scanned: Scanned, length: int) -> None:
        width = self.stop - self.first
        together = max(1, TABLE // width)
        n_contexts = len(scanned.counted) // length
        for start in range(0, n_contexts, together):
            self._see_some(scanned, length, start, min(start + together, n_contexts), width)

    def _see_some(self, scanned: Scanned, length: int, start: int, end: int, width: int) -> None:
        low, high = np.searchsorted(self._contexts, [scanned.first + start, scanned.first + end])
        wanted = self._by_context[low:high]
        if not len(wanted):
            return
        if len(self._table) < (end - start) * width:
            self._table = np.full((end - start) * width, -1, np.int32)
        places = (self.context[wanted] - scanned.first - start) * width + self.latent[wanted] - self.first
        self._table[places] = wanted
        some = slice(int(scanned.starts[start * length]), int(scanned.starts[end * length]))
        token, latent = scanned.token[some] - start * length, scanned.latent[some].astype(np.int64) - self.first
        if width == self.n_latents:
            example = self._table[token // length * width + latent]
        else:
            within = (latent >= 0) & (latent < width)
            example = np.where(within, self._table[np.where(within, token // length * width + latent, 0)], -1)
        found = np.flatnonzero(example >= 0)
        self._table[places] = -1
        self._found.append(
            (example[found].astype(np.int64), (token[found] % length).astype(np.uint16), scanned.act[some][found])
        )

    def firings(self) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]:
        """How many there are in each example, where, and how strong, example by example."""
        columns = zip(*self._found, strict=True) if self._found else ((), (), ())
        example, position, act = (
            np.concatenate(each) if each else np.zeros(0, kind)
            for each, kind in zip(columns, (np.int64, np.uint16, np.float32), strict=True)
        )
        order = stable_order(example)
        counts = np.bincount(example, minlength=len(self.latent))
        return counts, position[order], act[order]


class ExampleFiles:
    """The examples' arrays, appended to files range by range."""

    FIELDS = {
        "example_context": np.int32, "firing_count": np.int64, "firing_position": np.uint16, "firing_act": np.float32,
    }  # fmt: skip

    def __init__(self, folder: Path, out: Path, n_latents: int) -> None:
        self.folder, self.out = folder, out
        self._starts = np.zeros(n_latents + 1, np.int64)
        self._lengths = dict.fromkeys(self.FIELDS, 0)

    def add(self, examples: Examples) -> None:
        columns: tuple[NDArray[Any], ...] = (examples.context, *examples.firings())
        self._starts[examples.first + 1 : examples.stop + 1] = np.bincount(
            examples.latent - examples.first, minlength=examples.stop - examples.first
        )
        for (name, kind), array in zip(self.FIELDS.items(), columns, strict=True):
            try:
                with (self.folder / name).open("ab") as file:
                    file.write(array.astype(kind).tobytes())
            except OSError as error:
                raise not_written(self.out, error) from error
            self._lengths[name] += len(array)

    def arrays(self) -> dict[str, Any]:
        found: dict[str, Any] = {"example_start": np.cumsum(self._starts)}
        for name, kind in self.FIELDS.items():
            found[name] = Streamed(kind, (self._lengths[name],), self.folder / name)
        counts = np.fromfile(self.folder / "firing_count", np.int64)
        del found["firing_count"]
        starts = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        return found | {"firing_start": starts}


def ranges(n_latents: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n_latents, LATENTS):
        yield first, min(first + LATENTS, n_latents)


def runs(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each value of a sorted array begins and ends."""
    starts = run_starts(values)
    return starts, np.append(starts[1:], len(values))
