"""Contexts by hand for both packings; every token of every document, once; builds that fail or are killed."""

import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sae_core import packing, texts
from sae_core.corpus import Progress, build_corpus, open_corpus
from sae_core.errors import BadInput
from sae_core.tokenizer import Tokenizer
from tests.sae_core import small_tokenizers as small
from tests.sae_core.lettered import BOS, EOS, LETTERS, PAD, UNK, ids, lines, rows
from tests.sae_core.small_tokenizers import WORDS, made

Packing = Literal["packed", "apart"]


def test_packed_by_hand(letters: Tokenizer, tmp_path: Path) -> None:
    """The second document ends where a context does, so the eos after it begins the next."""
    source = lines(tmp_path / "some.jsonl", ["a b c d e", "f g h", "", "i", "j k"])
    corpus = build_corpus([source], letters, tmp_path / "out", context_length=6)
    assert rows(corpus) == [
        [BOS, *ids("abcde")],
        [BOS, EOS, *ids("fgh"), EOS],
        [BOS, *ids("i"), EOS, *ids("jk"), PAD],
    ]
    assert corpus.contexts.dtype == np.uint16
    assert corpus.lengths.tolist() == [6, 6, 5]
    assert corpus.pieces.tolist() == [
        # context, position, document, offset
        [0, 1, 0, 0],
        [1, 1, 0, 5],  # its eos
        [1, 2, 1, 0],
        [2, 1, 2, 0],
        [2, 3, 3, 0],
    ]
    assert [corpus.document(each) for each in range(4)] == [
        (f"{source}:1", 5, 9, 0),
        (f"{source}:2", 3, 5, 0),
        (f"{source}:4", 1, 1, 0),
        (f"{source}:5", 2, 3, 0),
    ]
    config = corpus.config
    assert (config.contexts, config.documents, config.empty_documents, config.tokens) == (3, 4, 1, 11)
    assert (config.context_length, config.packing, config.prepend_bos, config.pad_id) == (6, "packed", True, PAD)
    assert (config.tokenizer, config.fingerprint) == ("letters", letters.fingerprint)


def test_apart_by_hand(letters: Tokenizer, tmp_path: Path) -> None:
    source = lines(tmp_path / "some.jsonl", ["a b c d", "e f g", "h"])
    corpus = build_corpus([source], letters, tmp_path / "out", context_length=4, packing="apart")
    assert rows(corpus) == [
        [BOS, *ids("abc")],
        [BOS, *ids("d"), PAD, PAD],
        [BOS, *ids("efg")],
        [BOS, *ids("h"), PAD, PAD],
    ]
    assert corpus.lengths.tolist() == [4, 2, 4, 2]
    assert corpus.pieces.tolist() == [[0, 1, 0, 0], [1, 1, 0, 3], [2, 1, 1, 0], [3, 1, 2, 0]]
    assert corpus.config.tokens == 8
    assert corpus.config.packing == "apart"


def test_without_bos(letters: Tokenizer, tmp_path: Path) -> None:
    source = lines(tmp_path / "some.jsonl", ["a b c", "d"])
    corpus = build_corpus([source], letters, tmp_path / "packed", context_length=2, prepend_bos=False)
    assert rows(corpus) == [ids("ab"), [*ids("c"), EOS], [*ids("d"), PAD]]
    assert corpus.pieces.tolist() == [[0, 0, 0, 0], [1, 0, 0, 2], [2, 0, 1, 0]]
    assert not corpus.config.prepend_bos
    apart = build_corpus([source], letters, tmp_path / "apart", context_length=2, prepend_bos=False, packing="apart")
    assert rows(apart) == [ids("ab"), [*ids("c"), PAD], [*ids("d"), PAD]]


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        ({"bos_token": "<bos>"}, [[BOS, 4, 5, BOS], [BOS, 6, BOS, BOS]]),  # bos for want of eos
        ({"eos_token": "<eos>"}, [[4, 5, EOS, 6], [EOS, 7, EOS, EOS]]),  # and no bos to begin with
        ({}, [[4, 5, 6, 7]]),
    ],
)
def test_tokenizers_that_lack_special_tokens(
    tmp_path: Path, special: dict[str, str], expected: list[list[int]]
) -> None:
    tokenizer = made(small.words(LETTERS), tmp_path / "lacking", unk_token="<unk>", **special)
    documents = ["a b", "c"] if "bos_token" in special else ["a b", "c", "d"]
    corpus = build_corpus([lines(tmp_path / "some.jsonl", documents)], tokenizer, tmp_path / "out", context_length=4)
    assert rows(corpus) == expected
    assert corpus.config.prepend_bos == ("bos_token" in special)
    assert corpus.lengths.sum() == sum(len(ids(each.replace(" ", ""))) for each in documents) + (
        3 if "bos_token" in special else 2 if special else 0
    )


@pytest.mark.parametrize(("n_vocab", "kind"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_have_the_room_that_they_need(tmp_path: Path, n_vocab: int, kind: type[Any]) -> None:
    backend = small.words([f"w{index}" for index in range(4, n_vocab)])
    tokenizer = made(backend, tmp_path / "large", **WORDS)
    (tmp_path / "a.txt").write_text(f"w{n_vocab - 1} w4")
    corpus = build_corpus([tmp_path / "a.txt"], tokenizer, tmp_path / "out", context_length=3)
    assert rows(corpus) == [[BOS, n_vocab - 1, 4]]
    assert corpus.contexts.dtype == kind


documents_of_letters = st.lists(st.text("abcz", max_size=12), min_size=1, max_size=8).filter(any)


@given(
    documents=documents_of_letters,
    context_length=st.integers(2, 9),
    how=st.sampled_from(["packed", "apart"]),
    prepend_bos=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_token_of_every_document_once(
    letters: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[str],
    context_length: int,
    how: Packing,
    prepend_bos: bool,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = lines(folder / "some.jsonl", [" ".join(each) for each in documents])
    corpus = build_corpus(
        [source], letters, folder / "out", context_length=context_length, packing=how, prepend_bos=prepend_bos
    )
    found: dict[int, list[int]] = {}
    covered = 0
    for context in range(corpus.config.contexts):
        length = int(corpus.lengths[context])
        row = corpus.contexts[context].tolist()
        assert row[length:] == [PAD] * (context_length - length)
        pieces = corpus.pieces_of(context)
        assert pieces[0].position == int(prepend_bos)
        assert row[: pieces[0].position] == [BOS] * prepend_bos
        for piece, end in zip(pieces, [*(each.position for each in pieces[1:]), length], strict=True):
            assert piece.offset == len(found.get(piece.document, []))
            found.setdefault(piece.document, []).extend(row[piece.position : end])
            assert {corpus.document_of(context, at) for at in range(piece.position, end)} == {piece.document}
            covered += end - piece.position
        assert corpus.document_of(context) == pieces[0].document
        assert corpus.document_of(context, context_length - 1) == pieces[-1].document
    kept = [ids(each) for each in documents if each]
    last = len(kept) - 1
    separated = how == "packed"
    assert found == {at: each + [EOS] * (separated and at < last) for at, each in enumerate(kept)}
    assert [corpus.document(at).tokens for at in range(len(kept))] == [len(each) for each in kept]
    assert corpus.config.tokens == sum(map(len, kept)) == covered - last * separated
    assert corpus.config.empty_documents == len(documents) - len(kept)
    shutil.rmtree(folder)


def test_batches(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ".join(LETTERS[:7]))
    corpus = build_corpus([tmp_path / "a.txt"], letters, tmp_path / "out", context_length=3)
    batches = list(corpus.batches(3))
    assert [each.tolist() for each in batches] == [
        [[BOS, 4, 5], [BOS, 6, 7], [BOS, 8, 9]],
        [[BOS, 10, PAD]],
    ]
    assert type(batches[0]) is np.ndarray  # in memory
    with pytest.raises(BadInput, match="no context 4; it has 4"):
        corpus.pieces_of(4)
    with pytest.raises(BadInput, match="no document 1; it has 1"):
        corpus.document(1)


def test_what_could_not_be_read_is_counted(letters: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a \xff\xff b")
    (folder / "b.txt").write_bytes(b"c \xc3")
    (folder / "c.txt").write_bytes(b"d \0")
    (folder / "d.txt").write_text("\ufffd")
    (folder / "e.txt").symlink_to(folder / "a.txt")
    (folder / "f.txt").touch()
    corpus = build_corpus([folder], letters, tmp_path / "out", context_length=12)
    assert rows(corpus) == [[BOS, 4, UNK, 5, EOS, 6, UNK, EOS, UNK, PAD, PAD, PAD]]
    assert [corpus.document(each).replaced for each in range(3)] == [2, 1, 0]
    assert [corpus.document(each).name for each in range(3)] == [f"{folder}/{each}.txt" for each in "abd"]
    config = corpus.config
    assert (config.replaced, config.replaced_documents) == (3, 2)
    assert (config.binary_files, config.links, config.empty_documents) == (1, 1, 1)


def test_a_named_file_may_hold_nul(gpt2: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    corpus = build_corpus([str(tmp_path / "nul.txt")], gpt2, str(tmp_path / "out"), context_length=4)
    assert gpt2.text_and_spans(corpus.contexts[0, 1:]).text == b"a\0b"


@pytest.mark.parametrize("how", ["packed", "apart"])
def test_many_pieces_batches_and_blocks(gpt2: Tokenizer, tmp_path: Path, how: Packing) -> None:
    """A text that is read in many pieces and written in several blocks has the tokens of the whole."""
    text = "The quick brown fox jumps over the lazy dog.\n  And the café sleeps on\n" * 20_000
    (tmp_path / "long.txt").write_text(text)
    (tmp_path / "short.txt").write_text("the end")
    seen: list[Progress] = []
    corpus = build_corpus(
        [tmp_path / "long.txt", tmp_path / "short.txt"],
        gpt2,
        tmp_path / "out",
        context_length=65,
        packing=how,
        on_progress=seen.append,
    )
    long, short = gpt2.encode(text), gpt2.encode("the end")
    assert len(text) > packing.ENCODED_TOGETHER > 10 * texts.PIECE
    assert len(long) > packing.BLOCK
    between = 1 if how == "packed" else -len(long) % 64
    expected = [*long, *[0] * between, *short]
    expected += [0] * (-len(expected) % 64)  # eos, which is its padding too
    assert corpus.contexts[:, 1:].reshape(-1).tolist() == expected
    assert (corpus.contexts[:, 0] == 0).all()
    assert corpus.lengths.sum() == len(long) + len(short) + (how == "packed") + corpus.config.contexts
    assert corpus.document(0) == (f"{tmp_path}/long.txt", len(long), len(text), 0)
    assert corpus.document_of(corpus.config.contexts - 1, 64) == 1
    size = (tmp_path / "long.txt").stat().st_size + 7
    assert seen[-1] == (size, size, 2, len(long) + len(short), corpus.config.contexts)
    assert [each.tokens for each in seen] == sorted(each.tokens for each in seen)
    assert 0 < seen[0].bytes_read < size


@pytest.mark.parametrize("how", ["packed", "apart"])
def test_as_many_tokens_as_asked_for(letters: Tokenizer, tmp_path: Path, how: Packing) -> None:
    source = lines(tmp_path / "some.jsonl", ["a b c", "d e f", "g"])
    corpus = build_corpus([source], letters, tmp_path / "out", context_length=5, packing=how, max_tokens=4)
    expected = {
        "packed": [[BOS, *ids("abc"), EOS], [BOS, *ids("d"), PAD, PAD, PAD]],
        "apart": [[BOS, *ids("abc"), PAD], [BOS, *ids("d"), PAD, PAD, PAD]],
    }
    assert rows(corpus) == expected[how]
    assert (corpus.config.tokens, corpus.config.documents, corpus.document(1).tokens) == (4, 2, 1)
    assert corpus.config.empty_documents == 0
    all_of_it = build_corpus([source], letters, tmp_path / "all", context_length=5, packing=how, max_tokens=8)
    assert all_of_it.config.tokens == 7
    exactly = build_corpus([source], letters, tmp_path / "exactly", context_length=5, packing=how, max_tokens=3)
    assert (exactly.config.tokens, exactly.config.documents) == (3, 1)


def test_memory_does_not_grow_with_the_text(letters: Tokenizer, tmp_path: Path) -> None:
    """Of what Python and numpy hold; the backend holds one batch."""
    line = " ".join(LETTERS) + "\n"
    peaks = []
    for name, size in (("small", 40_000), ("large", 160_000)):
        (tmp_path / f"{name}.txt").write_text(line * size)
        tracemalloc.start()
        build_corpus([tmp_path / f"{name}.txt"], letters, tmp_path / name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.1


def test_what_progress_raises_ends_it(letters: Tokenizer, tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel(progress: Progress) -> None:
        assert progress.tokens == 26
        raise Cancelled

    (tmp_path / "a.txt").write_text(" ".join(LETTERS))
    with pytest.raises(Cancelled):
        build_corpus([tmp_path / "a.txt"], letters, tmp_path / "out", on_progress=cancel)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_fault_in_the_middle_leaves_nothing(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text"')
    with pytest.raises(BadInput, match=r"a\.jsonl:2: not JSON"):
        build_corpus([tmp_path / "a.jsonl"], letters, tmp_path / "deep/down/out")
    assert list((tmp_path / "deep/down").iterdir()) == []


def test_a_killed_build_leaves_nothing_that_looks_done(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ".join(LETTERS))
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sae_core.corpus import build_corpus\n"
        "from tests.sae_core import small_tokenizers as small\n"
        "tokenizer = small.made(small.words('abc'), Path(sys.argv[1]) / 'letters', **small.WORDS)\n"
        "kill = lambda progress: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_corpus([sys.argv[2]], tokenizer, Path(sys.argv[3]), on_progress=kill)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "a.txt"), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".out.*.partial")
    assert (left / "contexts.npy").exists()
    with pytest.raises(BadInput, match=r"corpus\.json: missing; .* is not a corpus, or was never finished"):
        open_corpus(left)
    with pytest.raises(BadInput, match=r"out/corpus\.json: missing"):
        open_corpus(tmp_path / "out")
    assert build_corpus([tmp_path / "a.txt"], letters, tmp_path / "out").config.tokens == 26


def test_where_something_lies_already(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "empty").mkdir()
    assert build_corpus([tmp_path / "a.txt"], letters, tmp_path / "empty").config.tokens == 1
    for out in (tmp_path / "empty", tmp_path / "a.txt"):
        with pytest.raises(BadInput, match=f"{out}: there already"):
            build_corpus([tmp_path / "a.txt"], letters, out)
    assert (tmp_path / "a.txt").read_text() == "a"


def test_no_text(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/nul").write_bytes(b"\0")
    (tmp_path / "in/empty").touch()
    (tmp_path / "in/blank").write_text(" \n")  # of which this tokenizer makes nothing
    with pytest.raises(BadInput, match=r"no text in .*/in \(left out: binary files: 1, links: 0, empty: 2\)"):
        build_corpus([tmp_path / "in"], letters, tmp_path / "out")
    with pytest.raises(BadInput, match="no text in nothing"):
        build_corpus([], letters, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_asked_for(letters: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    np.save(tmp_path / "b.npy", np.zeros((2, 3), np.int64))
    both = [tmp_path / "a.txt", tmp_path / "b.npy"]
    with pytest.raises(BadInput, match="context_length is 1, expected at least 2"):
        build_corpus(both[:1], letters, tmp_path / "out", context_length=1)
    with pytest.raises(BadInput, match="context_length is 0, expected at least 1"):
        build_corpus(both[:1], letters, tmp_path / "out", context_length=0, prepend_bos=False)
    with pytest.raises(BadInput, match="packing is 'tight', expected 'packed' or 'apart'"):
        build_corpus(both[:1], letters, tmp_path / "out", packing=cast(Packing, "tight"))
    with pytest.raises(BadInput, match="max_tokens is 0"):
        build_corpus(both[:1], letters, tmp_path / "out", max_tokens=0)
    with pytest.raises(BadInput, match="there is no tokenizer"):
        build_corpus(both[:1], None, tmp_path / "out")
    with pytest.raises(BadInput, match=r"b\.npy: ids and text cannot be mixed"):
        build_corpus(both, letters, tmp_path / "out")
    with pytest.raises(BadInput, match=r"c\.npy: no such file"):
        build_corpus([tmp_path / "c.npy"], letters, tmp_path / "out")
