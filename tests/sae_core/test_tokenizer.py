"""Text to ids and back to bytes, for each kind of tokenizer, against the text itself and the backend's own decoder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, processors
from transformers import AutoTokenizer

from sae_core.errors import BadInput
from sae_core.tokenizer import Tokenizer
from tests.sae_core import small_tokenizers as small
from tests.sae_core.small_tokenizers import load, made, save

GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
LLAMA3 = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
LLAMA2 = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
UNIGRAM = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

LUMPS = [
    "the dog", " and", "  ", "\n", "\n\n", "\r\n", "\t", "\0", "'s", "123", "é", "e\u0301", "語言", "🙂", "👩\u200d👧",
    "שלום", "\u202e", "\ufeff", "\ufffd", "\U0010ffff", "<|endoftext|>", "<0x41>",
]  # fmt: skip
texts = st.lists(st.sampled_from(LUMPS) | st.text(max_size=8), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    return {
        "gpt2": made(small.gpt2_like(), folder / "gpt2", **GPT2),
        "llama3": made(small.llama3_like(), folder / "llama3", **LLAMA3),
        "llama2": made(small.llama2_like(), folder / "llama2", **LLAMA2),
        "gemma": made(small.gemma_like(), folder / "gemma", **GEMMA),
        "unigram": made(small.unigram(), folder / "unigram", **UNIGRAM),
    }


def joined(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    """The bytes of each id by itself; and where they lie in the text of all."""
    each = [tokenizer.token_bytes(index) for index in ids]
    text, starts = tokenizer.text_and_spans(ids)
    assert [text[a:b] for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)] == each
    assert (starts[0], starts[-1], len(starts)) == (0, len(text), len(ids) + 1)
    return b"".join(each)


@pytest.mark.parametrize("kind", ["gpt2", "llama3"])
@given(text=texts)
@example("")
def test_bytes_of_byte_level_tokens_are_the_text(tokenizers: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    assert joined(tokenizer, ids) == text.encode()
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(("kind", "before"), [("llama2", " "), ("gemma", "")])
@given(text=texts)
@example("")
@example(" two  spaces")
def test_bytes_of_sentencepiece_tokens_are_the_text(
    tokenizers: dict[str, Tokenizer], kind: str, before: str, text: str
) -> None:
    assume(not any(special in text for special in [*LLAMA2.values(), *GEMMA.values()]))
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    expected = before * bool(text) + text.replace("▁", " ")  # its sign for a space, so one or the other
    assert joined(tokenizer, ids) == expected.encode()
    assert tokenizer.decode(ids) == expected


@given(text=st.text("the quickdog .,éà語言\n▁", max_size=30))
def test_bytes_of_unigram_tokens_are_the_text(tokenizers: dict[str, Tokenizer], text: str) -> None:
    tokenizer = tokenizers["unigram"]
    text = text.replace("▁", " ")
    before = " " * (not text.startswith(" "))
    assert joined(tokenizer, tokenizer.encode(text)) == (before * bool(text) + text).encode()


@pytest.mark.parametrize("kind", ["gpt2", "llama3"])
@given(ids=st.lists(st.integers(0, 399), max_size=20))
def test_any_byte_level_ids_decode_as_the_backend_has_it(
    tokenizers: dict[str, Tokenizer], kind: str, ids: list[int]
) -> None:
    tokenizer = tokenizers[kind]
    assert tokenizer.n_vocab == 400
    assert tokenizer.decode(ids) == tokenizer.hf.backend_tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("kind", ["llama2", "gemma", "unigram"])
@given(text=texts)
def test_texts_decode_as_the_backend_has_them(tokenizers: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode(text)
    theirs = tokenizer.hf.backend_tokenizer.decode(ids, skip_special_tokens=False)
    # Theirs leaves out the space that Llama's and T5's tokenizers put before a text.
    assert tokenizer.decode(ids) in ([theirs] if kind == "gemma" else [theirs, f" {theirs}"])


def test_what_single_ids_stand_for(tokenizers: dict[str, Tokenizer]) -> None:
    def stands_for(kind: str, token: str) -> bytes:
        return tokenizers[kind].token_bytes(tokenizers[kind].hf.convert_tokens_to_ids(token))

    assert stands_for("gpt2", "Ġthe") == b" the"
    assert stands_for("gpt2", "Ċ") == b"\n"
    assert stands_for("gpt2", "Ā") == b"\0"
    assert stands_for("gpt2", "é") == b"\xe9"  # a byte's sign, not the letter
    assert stands_for("gpt2", "<|endoftext|>") == b"<|endoftext|>"
    assert stands_for("llama2", "▁the") == b" the"
    assert stands_for("llama2", "<0xE9>") == b"\xe9"
    assert stands_for("llama2", "é") == "é".encode()
    assert stands_for("llama2", "<s>") == b"<s>"
    assert stands_for("gemma", "▁▁") == b"  "  # listed among the added tokens
    assert stands_for("unigram", "▁") == b" "


@pytest.mark.parametrize(("kind", "before"), [("gpt2", []), ("llama3", []), ("llama2", [b" "]), ("gemma", [])])
def test_a_split_character_shows_whole(tokenizers: dict[str, Tokenizer], kind: str, before: list[bytes]) -> None:
    tokenizer = tokenizers[kind]
    ids = tokenizer.encode("𝄞")
    assert [tokenizer.token_bytes(each) for each in ids] == [*before, b"\xf0", b"\x9d", b"\x84", b"\x9e"]
    text, starts = tokenizer.text_and_spans(ids)
    assert text.decode() == "".join(each.decode() for each in before) + "𝄞"
    assert starts.tolist() == list(range(len(ids) + 1))
    assert tokenizer.decode(ids[-3:]) == "\ufffd" * 3
    assert tokenizer.decode(ids[len(before) : -1]) == "\ufffd"  # what has begun as one character


def test_ids_of_any_row_of_integers(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["gpt2"]
    ids = tokenizer.encode("the dog")
    for given_ids in (ids, tuple(ids), np.array(ids, np.uint16), np.array(ids, np.int64)):
        assert tokenizer.decode(given_ids) == "the dog"
    assert tokenizer.text_and_spans([]).text == b""
    assert tokenizer.text_and_spans([]).starts.tolist() == [0]


def test_ids_outside_the_vocabulary(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["gpt2"]
    with pytest.raises(BadInput, match="token id 400 is not one of gpt2, whose ids are 0 to 399"):
        tokenizer.decode([1, 400])
    with pytest.raises(BadInput, match="token id -1 "):
        tokenizer.token_bytes(-1)
    with pytest.raises(BadInput, match="float64"):
        tokenizer.decode(np.array([1.0]))
    with pytest.raises(BadInput, match=r"\(1, 2\)"):
        tokenizer.decode(np.array([[1, 2]]))


def test_half_a_character_is_refused(tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(BadInput, match=r"'\\udc80' at 3"):
        tokenizers["gpt2"].encode_many(["fine", "abc\udc80"])


def test_special_ids(tokenizers: dict[str, Tokenizer]) -> None:
    def of(kind: str) -> tuple[object, ...]:
        each = tokenizers[kind]
        return each.bos_id, each.eos_id, each.pad_id, each.special_ids

    assert of("gpt2") == (0, 0, None, {0})
    assert of("llama3") == (0, 1, None, {0, 1})
    assert of("llama2") == (1, 2, None, {0, 1, 2})
    assert of("gemma") == (2, 1, 0, {0, 1, 2, 3})
    assert of("unigram") == (None, 1, 0, {0, 1, 2})


def test_added_tokens_and_ids_that_no_token_has(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({"a": 0, "b": 5, "[UNK]": 6}, unk_token="[UNK]"))
    backend.add_tokens(["Ġadded"])
    backend.add_special_tokens(["<stop>"])
    backend.decoder = decoders.ByteLevel()
    tokenizer = made(backend, tmp_path / "sparse")
    # They take ids that are free. Added tokens are as they read in the text that they are made of.
    assert tokenizer.hf.convert_ids_to_tokens([3, 4]) == ["Ġadded", "<stop>"]
    found = [tokenizer.token_bytes(index) for index in range(tokenizer.n_vocab)]
    assert found == [b"a", b"", b"", "Ġadded".encode(), b"<stop>", b"b", b"[UNK]"]
    assert tokenizer.special_ids == {4}


def test_literal_tokens(tmp_path: Path) -> None:
    """What is special is not decoded, and what looks like a byte is one only to a decoder that has such."""
    backend = small.words(["▁the", "<0x41>", "<a▁b>"])
    backend.add_special_tokens(["<a▁b>"])
    backend.decoder = decoders.Metaspace()
    tokenizer = made(backend, tmp_path / "literal", **small.WORDS)
    assert [tokenizer.token_bytes(index) for index in (4, 5, 6)] == [b" the", b"<0x41>", "<a▁b>".encode()]


@pytest.mark.parametrize("decoder", [decoders.WordPiece(), decoders.BPEDecoder(), None])
def test_other_decoders_are_asked(tmp_path: Path, decoder: Any) -> None:
    backend = small.words(["play", "##ing", "end</w>"])
    if decoder is not None:
        backend.decoder = decoder
    tokenizer = made(backend, tmp_path / "other", **small.WORDS)
    theirs = [backend.decode([index], skip_special_tokens=False).encode() for index in (4, 5, 6)]
    assert [tokenizer.token_bytes(index) for index in (4, 5, 6)] == theirs
    assert joined(tokenizer, [4, 5, 2]) == theirs[0] + theirs[1] + b"<bos>"


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "llama2", "gemma", "unigram"])
@pytest.mark.parametrize(
    ("first", "then"), [("the dog", "\nsleeps on"), ("the dog;\n", "sleeps on"), ("the", " dog"), ("é", "\n\n  one")]
)
def test_text_that_goes_on(tokenizers: dict[str, Tokenizer], kind: str, first: str, then: str) -> None:
    """No space is put where a text goes on, so the tokens of its parts are its tokens."""
    tokenizer = tokenizers[kind]
    assert tokenizer.encode(first) + tokenizer.encode_continued([then])[0] == tokenizer.encode(first + then)


def test_text_that_goes_on_loses_nothing(tmp_path: Path) -> None:
    """Where what is put before it becomes one token with the text, the space comes after all."""
    tokenizer = made(small.llama2_like(["\npan\npan\npan"]), tmp_path / "merging", **LLAMA2)
    assert [tokenizer.token_bytes(each) for each in tokenizer.encode("\npan")] == [b" ", b"\npan"]
    assert tokenizer.decode(tokenizer.encode_continued(["pan"])[0]) == " pan"
    assert tokenizer.decode(tokenizer.encode_continued(["\npan"])[0]) == "\npan"


def test_nothing_is_added_and_nothing_cut_off(tmp_path: Path) -> None:
    """Whatever a tokenizer's file asks for, and whoever else uses it."""
    backend = small.llama3_like()
    backend.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    plain = backend.encode("the dog and the dog", add_special_tokens=False).ids
    assert len(plain) > 3
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    tokenizer = made(backend, tmp_path / "eager", **LLAMA3)
    assert tokenizer.encode("the dog and the dog") == plain
    tokenizer.hf.pad_token = "<|end_of_text|>"
    tokenizer.hf(["the dog and the dog", "the"], truncation=True, max_length=2, padding="max_length")
    assert tokenizer.encode_many(["the dog and the dog", ""]) == [plain, []]


def test_the_fingerprint_is_of_what_encode_gives(tmp_path: Path) -> None:
    first = made(small.gpt2_like(), tmp_path / "first", **GPT2)
    again = small.gpt2_like()
    again.enable_truncation(7)
    assert made(again, tmp_path / "again", **GPT2).fingerprint == first.fingerprint
    other = made(small.gpt2_like(n_vocab=401), tmp_path / "other", **GPT2)
    assert other.fingerprint != first.fingerprint
    assert len(first.fingerprint) == 64


def test_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """`transformers` would put GPT-2's pre-tokenizer in place of the file's, because of the class that is named."""
    backend = small.llama3_like()
    folder = save(backend, tmp_path / "renamed", **LLAMA3)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "GPT2TokenizerFast"}))
    tokenizer = load(folder)
    text = "print(add(1, 22))\n\n\nprint(add(1, 22))\n"
    assert AutoTokenizer.from_pretrained(folder).encode(text) != backend.encode(text).ids
    assert tokenizer.encode(text) == backend.encode(text, add_special_tokens=False).ids
    assert (tokenizer.bos_id, tokenizer.eos_id) == (0, 1)


def test_files_of_a_slow_tokenizer_are_converted(tmp_path: Path) -> None:
    backend = small.gpt2_like()
    backend.model.save(str(tmp_path))  # vocab.json and merges.txt
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **GPT2}))
    assert not (tmp_path / "tokenizer.json").exists()
    tokenizer = load(tmp_path)
    text = "the dog  and\n\nthe 🦊"
    assert tokenizer.encode(text) == backend.encode(text).ids
    assert tokenizer.bos_id == 0


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert Tokenizer.load(tmp_path) is None


def test_a_tokenizer_without_a_fast_form(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    with pytest.raises(BadInput, match=rf"{tmp_path}: ByT5Tokenizer has no fast form; save one as tokenizer.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", ""),
        ("tokenizer.json", '{"version": "1.0", "model": {"type": "BPE"}}'),
        ("tokenizer.json", "[1, 2]"),
        ("tokenizer_config.json", '{"bos_token": '),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, content: str) -> None:
    folder = save(small.gpt2_like(), tmp_path / "broken", **GPT2)
    (folder / file).write_text(content)
    with pytest.raises(BadInput, match=rf"broken/{file}: not a tokenizer that can be read"):
        Tokenizer.load(folder)


def test_no_such_folder(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="missing: there is no such file or folder"):
        Tokenizer.load(tmp_path / "missing")
    with pytest.raises(BadInput, match=r"\./missing: there is no such file or folder"):
        Tokenizer.load("./missing")
    with pytest.raises(BadInput, match=r"tokenizer\.json: a file; give the folder"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_from_the_hub(tmp_path: Path) -> None:
    """As far as goes without a network: from what the hub's cache holds, and what is said of an id that it does not."""
    snapshot = tmp_path / "hub/models--maker--small/snapshots/0123456789012345678901234567890123456789"
    save(small.gpt2_like(), snapshot, **GPT2)
    (tmp_path / "hub/models--maker--small/refs").mkdir()
    (tmp_path / "hub/models--maker--small/refs/main").write_text(snapshot.name)
    code = (
        "from sae_core.tokenizer import Tokenizer\n"
        "found = Tokenizer.load('maker/small')\n"
        "print(found.name, found.encode('the dog'))\n"
        "try: Tokenizer.load('maker/other')\n"
        "except ValueError as error: print(type(error).__name__, str(error).split(':')[:2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    ids = load(snapshot).encode("the dog")
    said = "BadInput ['maker/other', ' no such folder here, and the hub cannot be reached']"
    assert done.stdout.splitlines() == [f"maker/small {ids}", said], done.stderr
