"""What is said of a corpus's folder whose files are not as they should be."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_core.corpus import build_corpus, open_corpus
from sae_core.errors import BadInput
from sae_core.tokenizer import Tokenizer
from tests.sae_core.lettered import lines


def corpus_of(letters: Tokenizer, tmp_path: Path) -> Path:
    source = lines(tmp_path / "some.jsonl", ["a b c d", "e f"])
    return build_corpus([source], letters, tmp_path / "out", context_length=4).folder


@pytest.mark.parametrize(
    "file", ["corpus.json", "contexts.npy", "lengths.npy", "pieces.npy", "documents.jsonl", "document_starts.npy"]
)
def test_a_missing_file_is_named(letters: Tokenizer, tmp_path: Path, file: str) -> None:
    folder = corpus_of(letters, tmp_path)
    (folder / file).unlink()
    with pytest.raises(BadInput, match=f"out/{file}: missing"):
        open_corpus(folder)


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        ("contexts", np.zeros((4, 4), np.uint16), r"uint16 of shape \(4, 4\), expected uint16 or uint32 of \(3, 4\)"),
        ("contexts", np.zeros((3, 4), np.int64), "int64 of shape"),
        ("lengths", np.zeros(2, np.int32), r"shape \(2,\), expected int32 of \(3\)"),
        ("lengths", np.zeros(3, np.int64), "int64 of shape"),
        ("pieces", np.zeros((5, 3), np.int64), r"shape \(5, 3\), expected int64 of \(any, 4\)"),
        ("pieces", np.zeros(4, np.int64), r"shape \(4,\), expected"),
        ("document_starts", np.zeros(2, np.int64), r"shape \(2,\), expected int64 of \(3\)"),
    ],
)
def test_files_that_do_not_fit_together(
    letters: Tokenizer, tmp_path: Path, file: str, array: np.ndarray[Any, Any], message: str
) -> None:
    folder = corpus_of(letters, tmp_path)
    assert open_corpus(folder).config.contexts == 3
    np.save(folder / f"{file}.npy", array)
    with pytest.raises(BadInput, match=rf"out/{file}\.npy: .*{message}"):
        open_corpus(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, expected 1; build the corpus anew"),
        ({"contexts": "3"}, "contexts is '3', expected int"),
        ({"tokenizer": 3}, r"tokenizer is 3, expected str \| None"),
        ({"sha256": None}, "sha256 is None, expected str"),
    ],
)
def test_a_config_that_is_not_as_it_should_be(
    letters: Tokenizer, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = corpus_of(letters, tmp_path) / "corpus.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | change))
    with pytest.raises(BadInput, match=rf"out/corpus\.json: {message}"):
        open_corpus(path.parent)
    path.write_text(json.dumps({key: value for key, value in whole.items() if key not in change}))
    with pytest.raises(BadInput, match=rf"out/corpus\.json: {next(iter(change))} "):
        open_corpus(path.parent)
    for content in ("[]", "{", "\udc80"):
        path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(BadInput, match=r"out/corpus\.json: "):
            open_corpus(path.parent)


def test_a_changed_file_is_found_out(letters: Tokenizer, tmp_path: Path) -> None:
    folder = corpus_of(letters, tmp_path)
    assert open_corpus(folder, check_hash=True).config.contexts == 3
    with (folder / "contexts.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    open_corpus(folder)
    with pytest.raises(BadInput, match=r"out/contexts\.npy: its sha256 is .* it has been changed"):
        open_corpus(folder, check_hash=True)
    with (folder / "contexts.npy").open("r+b") as file:
        file.truncate(130)
    with pytest.raises(BadInput, match=r"out/contexts\.npy: not an \.npy file that can be read"):
        open_corpus(folder)
    shutil.rmtree(folder)
    corpus_of(letters, tmp_path)
    with (folder / "documents.jsonl").open("ab") as other:
        other.write(b"\n")
    with pytest.raises(BadInput, match=r"out/documents\.jsonl: \d+ bytes, expected \d+"):
        open_corpus(folder)
