"""What is read from files and folders: every character, whatever the bytes, and nothing that is not text."""

import gzip
import json
import os
import subprocess
import sys
from itertools import chain, pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sae_core.errors import BadInput
from sae_core.texts import MAX_LINE, PIECE, Cap, Tally, in_pieces, name_of, read_documents, total_bytes
from sae_core.tokenizer import Tokenizer
from tests.sae_core import small_tokenizers as small
from tests.sae_core.small_tokenizers import made


def read(*sources: str | Path, text_key: str = "text", tally: Tally | None = None) -> list[tuple[str, str, int]]:
    """Name, text and replaced characters of every document."""
    found = []
    for document in read_documents(sources, text_key=text_key, tally=tally):
        pieces = list(document.pieces)
        found.append((document.name, "".join(each.text for each in pieces), sum(each.replaced for each in pieces)))
    return found


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "poem.md").write_bytes("Ein Vöglein\r\n\0 sang.\n".encode())
    assert read(tmp_path / "poem.md") == [(f"{tmp_path}/poem.md", "Ein Vöglein\r\n\0 sang.\n", 0)]


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert [list(each.pieces) for each in read_documents([tmp_path / "empty.txt"])] == [[]]


@pytest.mark.parametrize(
    ("raw", "text", "replaced"),
    [
        (b"caf\xe9 \xff\xfe", "caf\ufffd \ufffd\ufffd", 3),
        ("was \ufffd before".encode(), "was \ufffd before", 0),
        (b"\xef\xbf\xbd\xff", "\ufffd\ufffd", 1),
        (b"cut \xe8\xaa", "cut \ufffd", 1),  # the beginning of one character
        (b"\xed\xa0\x80", "\ufffd" * 3, 3),  # half a character, in bytes that no UTF-8 has
        (b"\xef\xbb\xbfmarked", "marked", 0),
        (b"not \xef\xbb\xbf first", "not \ufeff first", 0),
        (b"\xef\xbb", "\ufffd", 1),  # half a mark
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, raw: bytes, text: str, replaced: int) -> None:
    (tmp_path / "some.txt").write_bytes(raw)
    assert read(tmp_path / "some.txt") == [(f"{tmp_path}/some.txt", text, replaced)]
    line = b'{"text": "' + raw.removeprefix(b"\xef\xbb\xbf") + b'"}'
    (tmp_path / "some.jsonl").write_bytes(line)
    assert read(tmp_path / "some.jsonl") == [(f"{tmp_path}/some.jsonl:1", text, replaced)]


@given(raw=st.binary(max_size=30), before=st.integers(PIECE - 20, PIECE + 5))
def test_any_bytes_over_the_border_of_a_read(tmp_path_factory: pytest.TempPathFactory, raw: bytes, before: int) -> None:
    path = tmp_path_factory.getbasetemp() / "border.txt"
    path.write_bytes(b"x" * before + raw)
    text = raw.decode(errors="replace")
    genuine = raw.count("\ufffd".encode())
    assert read(path) == [(str(path), "x" * before + text, text.count("\ufffd") - genuine)]


def test_a_mark_is_one_at_the_beginning_alone(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_bytes(b"x" * PIECE + b"\xef\xbb\xbfy")
    assert read(tmp_path / "some.txt") == [(f"{tmp_path}/some.txt", "x" * PIECE + "\ufeffy", 0)]


def test_a_long_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'{"text": "\xff' + b"x" * 3 * PIECE + b'"}')
    assert read(path) == [(f"{path}:1", "\ufffd" + "x" * 3 * PIECE, 1)]


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "one\\nline", "id": 1}\r\n\n   \n{"body": "x", "text": ""}\n'
        b'{"text": "\\ud83d\\ude42 \\ud83d"}'
    )
    assert read(path) == [(f"{path}:1", "one\nline", 0), (f"{path}:4", "", 0), (f"{path}:5", "🙂 \ufffd", 1)]
    path.write_text('{"content": {"a": 1}, "body": "here"}\n')
    assert read(path, text_key="body") == [(f"{path}:1", "here", 0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'text': 1}", "some.jsonl:2: not JSON: "),
        ('{"text": "x"', "some.jsonl:2: not JSON: "),
        ("[" * 100_000, "some.jsonl:2: not JSON: "),
        ('{"text": ' + "9" * 5000 + "}", "some.jsonl:2: not JSON: "),
        ("[1]", "some.jsonl:2: list, expected a JSON object with the text under 'text'"),
        ('{"id": 1, "body": "x"}', "some.jsonl:2: no 'text'; its keys are 'id', 'body'"),
        ("{}", "some.jsonl:2: no 'text'; its keys are none"),
        ('{"text": null}', "some.jsonl:2: 'text' is NoneType, expected text"),
    ],
)
def test_a_line_that_is_not_as_it_should_be(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "some.jsonl").write_text(f'{{"text": "fine"}}\n{line}\n{{"text": "fine"}}\n')
    documents = read_documents([tmp_path / "some.jsonl"])
    assert next(documents).name == f"{tmp_path}/some.jsonl:1"
    with pytest.raises(BadInput) as caught:
        next(documents)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_a_line_without_end(tmp_path: Path) -> None:
    with (tmp_path / "some.jsonl").open("wb") as file:
        file.truncate(MAX_LINE + 1)
    with pytest.raises(BadInput, match=r"some\.jsonl:1: a line of over 67,108,864 bytes"):
        read(tmp_path / "some.jsonl")


def test_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one") + gzip.compress(b" two"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n{"text": "four"}'))
    assert [text for _, text, _ in read(tmp_path / "a.txt.gz", tmp_path / "b.jsonl.gz")] == ["one two", "three", "four"]


WHOLE = gzip.compress(bytes(range(100)))


@pytest.mark.parametrize("broken", [WHOLE[:30], WHOLE[:-4], WHOLE[5:], WHOLE[:-6] + b"xxxxxx", b"\x1f\x8b", b"text"])
def test_a_broken_compressed_file(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "a.txt.gz").write_bytes(broken)
    for source in (tmp_path / "a.txt.gz", tmp_path):
        with pytest.raises(BadInput, match=r"a\.txt\.gz: not a whole gzip file: "):
            read(source)


def test_the_cap_of_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    (tmp_path / "b.txt").write_text("as large as it is")
    nothing = Cap(never=0)
    assert [piece.text for each in read_documents([tmp_path / "b.txt"], cap=nothing) for piece in each.pieces] == [
        "as large as it is"
    ]
    ratio = -(-1000 // path.stat().st_size)
    for cap in (Cap(ratio, always=0), Cap(1, always=1000), Cap(1000, never=1000)):
        assert [piece.text for each in read_documents([path], cap=cap) for piece in each.pieces] == ["x" * 1000]
    for cap in (Cap(ratio - 1, always=0), Cap(1, always=999), Cap(1000, never=999)):
        message = rf"a\.txt\.gz: expands to more than {cap.of(path.stat().st_size)} bytes"
        with pytest.raises(BadInput, match=message):
            list(chain.from_iterable(each.pieces for each in read_documents([path], cap=cap)))


def test_a_bomb_is_stopped_before_it_fills_the_memory(tmp_path: Path) -> None:
    """A gigabyte without an end of line, in two files of a megabyte: of text, and of JSON."""
    block = gzip.compress(b"x" * (1 << 25))
    for name in ("bomb.txt.gz", "bomb.jsonl.gz"):
        (tmp_path / name).write_bytes(block * 30)
    code = (
        "import resource, sys\n"
        "from sae_core.texts import read_documents\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(sum(len(piece.text) for each in read_documents([name]) for piece in each.pieces))\n"
        "    except ValueError as error: print(type(error).__name__, error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    names = [str(tmp_path / "bomb.txt.gz"), str(tmp_path / "bomb.jsonl.gz")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    *said, megabytes = done.stdout.splitlines()
    cap = Cap().of(30 * len(block))
    assert cap < 30 << 25
    assert said[0].startswith(f"BadInput {names[0]}: expands to more than {cap:,} bytes")
    assert said[1].startswith(f"BadInput {names[1]}:1: a line of over")
    assert int(megabytes) < 200


def test_a_folder(tmp_path: Path) -> None:
    """By name at every level, folders among the files; what is hidden, linked or not text is left out."""
    for name in ("b.txt", "a/z.py", "a/b/c.txt", "a.txt", "Z.txt", ".hidden", ".git/config", "b/a.jsonl"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text('{"text": "x"}')
    (tmp_path / "in/image").write_bytes(b"x" * 8191 + b"\0")
    (tmp_path / "in/image.gz").write_bytes(gzip.compress(b"x\0y"))
    (tmp_path / "in/late").write_bytes(b"x" * 8192 + b"\0")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret.txt").write_text("secret")
    (tmp_path / "in/link").symlink_to(tmp_path / "out")
    (tmp_path / "in/link.txt").symlink_to(tmp_path / "out/secret.txt")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in/pipe")
    tally = Tally()
    found = read(tmp_path / "in", tally=tally)
    names = [name.removeprefix(f"{tmp_path}/in/") for name, _, _ in found]
    assert names == ["Z.txt", "a/b/c.txt", "a/z.py", "a.txt", "b/a.jsonl:1", "b.txt", "late"]
    assert (tally.binary_files, tally.links) == (2, 4)
    assert tally.bytes_read == total_bytes([tmp_path / "in"])


def test_what_is_named_is_read(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/nul").write_bytes(b"a\0b")
    (tmp_path / "link").symlink_to(tmp_path / ".hidden/nul")
    (tmp_path / "folder").symlink_to(tmp_path / ".hidden")
    (tmp_path / ".hidden/fine").write_text("fine")
    found = read(tmp_path / ".hidden/nul", tmp_path / "link", tmp_path / "folder", str(tmp_path / ".hidden/fine"))
    assert [text for _, text, _ in found] == ["a\0b", "a\0b", "fine", "fine"]


def test_a_name_of_any_bytes(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path.write_text("x")
    assert [name for name, _, _ in read(tmp_path)] == [name_of(path)] == [f"{tmp_path}/caf\ufffd"]


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("x")
    with pytest.raises(BadInput, match=r"missing\.txt: no such file or folder"):
        next(read_documents([tmp_path / "here.txt", tmp_path / "missing.txt"]))
    with pytest.raises(BadInput, match="xxx: cannot be read: File name too long"):
        next(read_documents(["x" * 5000]))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="pipe: neither a file nor a folder"):
        next(read_documents([tmp_path / "pipe"]))


def test_how_far_it_has_been_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 3 * PIECE)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "y"}) + "\n")
    tally = Tally()
    seen = [tally.bytes_read for each in read_documents([tmp_path], tally=tally) for _ in each.pieces]
    assert seen == sorted(seen)
    assert seen[0] < 3 * PIECE <= seen[-1] <= tally.bytes_read == total_bytes([tmp_path])
    assert total_bytes([tmp_path]) == 3 * PIECE + 14


def paragraphs(lines: list[str]) -> str:
    """More than two pieces' worth."""
    text = "".join(lines)
    return text * (3 * PIECE // len(text))


TEXTS = {
    "prose": paragraphs(
        ["The quick brown fox jumps over the lazy dog.\n", "And the dog\n", "\n", "sleeps on, they say"]
    ),
    "code": paragraphs(["def add(first, second):\n", "    return first + second\n", "\n\n", "print(add(1, 22))\n"]),
    "windows": paragraphs(["The dog sleeps\r\n", "on; the fox:\r\n", "\r\n", "  jumps.\r\n"]),
    "one line": paragraphs(["The quick brown fox, and the lazy dog. "]),
}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = ["".join(each[:2000]) for each in TEXTS.values()]
    return {
        "gpt2": made(small.gpt2_like(texts), folder / "gpt2"),
        "llama3": made(small.llama3_like(texts), folder / "llama3"),
        "llama2": made(small.llama2_like(), folder / "llama2"),
        "gemma": made(small.gemma_like(), folder / "gemma"),
    }


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "llama2", "gemma"])
@pytest.mark.parametrize("name", TEXTS)
def test_pieces_have_the_tokens_of_the_whole(tokenizers: dict[str, Tokenizer], name: str, kind: str) -> None:
    text, tokenizer = TEXTS[name], tokenizers[kind]
    first, *others = pieces = list(in_pieces(text))
    assert "".join(pieces) == text
    assert len(pieces) > 2
    assert max(map(len, pieces)) <= PIECE
    ids = tokenizer.encode(first)
    for each in tokenizer.encode_continued(others):
        ids += each
    assert ids == tokenizer.encode(text)


near_a_border = st.integers(0, PIECE) | st.integers(PIECE - 4, PIECE)


@given(near_a_border, near_a_border, st.sampled_from(["\n", " ", "\r\n", "\n\n", "x"]))
@example(PIECE - 1, 0, "\r\n")
def test_pieces_of_any_lines(first: int, second: int, between: str) -> None:
    text = "a" * first + between + "b" * second + between + "語" * PIECE
    pieces = list(in_pieces(text))
    assert "".join(pieces) == text
    assert all(0 < len(each) <= PIECE for each in pieces)
    assert not any(a.endswith("\r") and b.startswith("\n") for a, b in pairwise(pieces))
