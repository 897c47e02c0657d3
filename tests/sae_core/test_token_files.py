"""Ids in .npy files that anybody may have made."""

import os
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_core.corpus import Progress, build_corpus, tokens_from_npy
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.tokenizer import Tokenizer
from tests.sae_core import small_tokenizers as small
from tests.sae_core.lettered import PAD, rows
from tests.sae_core.small_tokenizers import WORDS, made


def test_contexts_that_somebody_made(letters: Tokenizer, tmp_path: Path) -> None:
    first = np.array([[2, 4, 5], [2, 6, 7]], np.int64)
    np.save(tmp_path / "a.npy", first)
    np.save(tmp_path / "b.npy", np.asfortranarray(first + 1).astype(">i4"))
    seen: list[Progress] = []
    corpus = build_corpus([tmp_path / "a.npy", tmp_path / "b.npy"], letters, tmp_path / "out", on_progress=seen.append)
    assert rows(corpus) == [*first.tolist(), *(first + 1).tolist()]
    assert corpus.contexts.dtype == np.uint16
    assert corpus.lengths.tolist() == [3] * 4
    assert corpus.pieces.tolist() == [[0, 0, 0, 0], [1, 0, 0, 3], [2, 0, 1, 0], [3, 0, 1, 3]]
    assert corpus.document(1) == (f"{tmp_path}/b.npy", 6, 0, 0)
    assert (corpus.config.packing, corpus.config.prepend_bos, corpus.config.tokens) == ("given", False, 12)
    size = sum((tmp_path / each).stat().st_size for each in ("a.npy", "b.npy"))
    assert seen[-1] == (size, size, 2, 12, 4)


def test_a_row_of_ids_that_somebody_made(tmp_path: Path) -> None:
    """And no tokenizer: ids as large as uint32 goes."""
    np.save(tmp_path / "a.npy", np.arange(7, dtype=np.uint64) + ((1 << 32) - 7))
    with pytest.warns(DoubtfulInput, match="the last 1 of 7 ids do not fill a context of 3"):
        corpus = build_corpus([tmp_path / "a.npy"], None, tmp_path / "out", context_length=3)
    assert rows(corpus) == (np.arange(6).reshape(2, 3) + ((1 << 32) - 7)).tolist()
    assert corpus.contexts.dtype == np.uint32
    assert (corpus.config.tokenizer, corpus.config.fingerprint) == (None, None)
    np.save(tmp_path / "b.npy", np.array([[1 << 32]]))
    with pytest.raises(BadInput, match="id 4294967296 in context 0 at 0, expected 0 to 4294967295"):
        build_corpus([tmp_path / "b.npy"], None, tmp_path / "other")


def test_some_of_the_contexts_that_somebody_made(letters: Tokenizer, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((5, 3), 4))
    corpus = build_corpus([tmp_path / "a.npy"], letters, tmp_path / "out", max_tokens=7)
    assert rows(corpus) == [[4, 4, 4], [4, 4, 4], [4, PAD, PAD]]
    twice = build_corpus([tmp_path / "a.npy"] * 2, letters, tmp_path / "twice", max_tokens=15)
    assert (twice.config.tokens, twice.config.documents, twice.config.empty_documents) == (15, 1, 0)
    np.save(tmp_path / "b.npy", np.full((5, 4), 4))
    with pytest.raises(BadInput, match=r"b\.npy: contexts of 4 ids; those of .*a\.npy have 3"):
        build_corpus([tmp_path / "a.npy", tmp_path / "b.npy"], letters, tmp_path / "other")
    with pytest.raises(BadInput, match=r"a\.npy: id 4 in context 0 at 0, expected 0 to 3"):
        build_corpus([tmp_path / "a.npy"], made(small.words([]), tmp_path / "tiny", **WORDS), tmp_path / "other")


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_of_any_kind(tmp_path: Path, kind: type[Any]) -> None:
    np.save(tmp_path / "a.npy", np.arange(120, dtype=kind).reshape(10, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tokens_from_npy(tmp_path / "a.npy", n_vocab=120)
        assert found.tolist() == np.arange(120).reshape(10, 12).tolist()
        assert isinstance(found, np.memmap)
        assert tokens_from_npy(tmp_path / "a.npy", context_length=12).dtype == kind
    with pytest.raises(BadInput, match=r"a\.npy: id 119 in context 9 at 11, expected 0 to 118"):
        tokens_from_npy(tmp_path / "a.npy", n_vocab=119)
    if np.dtype(kind).kind == "i":
        np.save(tmp_path / "negative.npy", np.array([[3, -1]], kind))
        with pytest.raises(BadInput, match=r"negative\.npy: id -1 in context 0 at 1, expected 0 to 118"):
            tokens_from_npy(tmp_path / "negative.npy", n_vocab=119)


def test_a_row_is_cut_into_contexts(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(401))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # less than a hundredth is left out, which goes without saying
        found = tokens_from_npy(tmp_path / "a.npy", context_length=4)
    assert found.tolist() == np.arange(400).reshape(100, 4).tolist()
    assert isinstance(found, np.memmap)
    with pytest.warns(DoubtfulInput, match=r"a\.npy: the last 5 of 401 ids do not fill a context of 18: left out"):
        assert tokens_from_npy(tmp_path / "a.npy", context_length=18).shape == (22, 18)


@pytest.mark.parametrize(
    ("array", "context_length", "message"),
    [
        (np.zeros((2, 3)), None, "float64, expected whole numbers"),
        (np.zeros((2, 3), bool), None, "bool, expected whole numbers"),
        (np.array([["a"]]), None, "<U1, expected whole numbers"),
        (np.array([[{}]], object), None, "not an .npy file that can be read: .*[Oo]bject"),
        (np.array([[1, 2], [3, -4]]), None, "id -4 in context 1 at 1, expected 0 or more"),
        (np.array([[1, 2], [3, -4]], np.int8), 2, "id -4 in context 1 at 1, expected 0 or more"),
        (np.zeros((2, 3), int), 4, "contexts of 3 ids, expected 4; flatten it to cut anew"),
        (np.zeros(1234, int), None, r"one row of 1,234 ids; say how long a context is \(context_length\)"),
        (np.zeros(3, int), 4, "3 ids, not one context"),
        (np.zeros((0, 4), int), None, "0 ids, not one context"),
        (np.zeros((4, 0), int), None, "0 ids, not one context"),
        (np.zeros((1, 2, 3), int), None, r"shape \(1, 2, 3\), expected \(contexts, context_length\) or one row of ids"),
        (np.array(7), None, r"shape \(\), expected"),
    ],
)
def test_arrays_that_are_no_ids(
    tmp_path: Path, array: np.ndarray[Any, Any], context_length: int | None, message: str
) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(BadInput, match=rf"a\.npy: {message}"):
        tokens_from_npy(tmp_path / "a.npy", context_length=context_length)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.zeros((3, 4), np.uint16))
    whole = (tmp_path / "whole.npy").read_bytes()
    np.savez(tmp_path / "several.npz", np.zeros(3))
    huge = whole.replace(b"(3, 4)", b"(%d, 4)" % 10**30)
    odd = whole.replace(b"(3, 4)", b"(3, 4.")
    for content in (b"", b"text", whole[:100], whole[:-1], (tmp_path / "several.npz").read_bytes(), huge, odd):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.npy: not an \.npy file that can be read: "):
            tokens_from_npy(tmp_path / "a.npy")
    with pytest.raises(BadInput, match=r"none\.npy: missing"):
        tokens_from_npy(tmp_path / "none.npy")
    np.save(tmp_path / "row.npy", np.zeros(4, int))
    with pytest.raises(BadInput, match="context_length is 0, expected at least 1"):
        tokens_from_npy(tmp_path / "row.npy", context_length=0)


def test_no_code_in_an_array_is_run(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    np.save(tmp_path / "a.npy", np.array([[Exploit()]], object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"a\.npy"):
        tokens_from_npy(tmp_path / "a.npy")
    assert not (tmp_path / "touched").exists()


def test_ids_are_looked_at_without_being_held(tmp_path: Path) -> None:
    """Of 64 MB that are looked at, a few are held at a time; the last id is wrong."""
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<i8", "fortran_order": False, "shape": (1 << 13, 1 << 10)}
        )
        file.truncate(file.tell() + (1 << 26))
        file.seek(-8, os.SEEK_END)
        file.write(np.int64(50_000).tobytes())
    tracemalloc.start()
    with pytest.raises(BadInput, match="id 50000 in context 8191 at 1023, expected 0 to 49999"):
        tokens_from_npy(tmp_path / "a.npy", n_vocab=50_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24
