"""How the demo's text is taken in: translations, near-duplicates, repeated paragraphs, the split by file."""

import json
from collections import Counter
from pathlib import Path

import pytest
from making import text
from making.text import PARTS, Source

WORDS = [f"word{each}" for each in range(4000)]


def essay(start: int, n: int = 400) -> str:
    return "\n".join(" ".join(WORDS[at : at + 8]) for at in range(start, start + n, 8))


def test_of_a_catalogue_the_translations_alone() -> None:
    po = (
        'msgid ""\nmsgstr ""\n"Language: ru\\n"\n\n'
        '#: a.py:3\nmsgid "Save"\nmsgstr "Сохранить"\n\n'
        'msgid "two "\n"lines"\nmsgstr ""\n"две "\n"\\"строки\\""\n\n'
        'msgid "%d day"\nmsgid_plural "%d days"\nmsgstr[0] "%d день"\nmsgstr[1] "%d дня"\n\n'
        'msgid "not yet"\nmsgstr ""\n'
    )
    assert text._translated(po) == 'Сохранить\nдве "строки"\n%d день\n%d дня'


def test_a_long_paragraph_is_kept_three_times_and_a_short_one_always() -> None:
    licence, short, seen = "Licensed under the same words again. " * 5, "    return None\n", Counter[int]()
    kept = [text._without_repeats(f"{licence}\n\n{short}\n{essay(at)}", seen) for at in range(0, 2000, 400)]
    assert [licence in each for each in kept] == [True, True, True, False, False]
    assert all(short.strip() in each for each in kept)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fifty files of their own, a copy of one with a line added, and one that is no text, as they are taken in."""
    folder = tmp_path / "packages" / "given" / "inside"
    folder.mkdir(parents=True)
    for index in range(50):
        (folder / f"file{index:02}.txt").write_text(
            "\n".join(f"{line} of {index}" for line in essay(index).split("\n"))
        )
    (folder / "later.txt").write_text((folder / "file03.txt").read_text() + "\none line more")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe" * 500)
    monkeypatch.setattr(text, "SOURCES", (Source("given", "MIT", "files", (".",), (".txt",), package="given"),))
    text.make_text(tmp_path, tmp_path)
    return tmp_path / "text"


def test_every_file_is_in_one_part(made: Path) -> None:
    found = {part: {each.name for each in (made / part).rglob("*.txt")} for part in PARTS if (made / part).exists()}
    everything = Counter(name for names in found.values() for name in names)
    assert everything == Counter({f"file{index:02}.txt.txt": 1 for index in range(50)})
    assert len(found["lm-training"]) > len(found["sae-training"]) > 0
    (told,) = json.loads((made / "sources.json").read_text())
    assert (told["files"], told["duplicates"]) == (50, 1)


def test_the_part_depends_on_the_name_alone() -> None:
    code = Source("code", "MIT", "", (".",), (".py",))
    catalogue = Source("locale", "MIT", "", (".",), (".po",))
    names = [f"file{index}" for index in range(4000)]
    for source, held_out, sae_training in ((code, 0.052, 0.248), (catalogue, 0.18, 0.22)):
        parts = Counter(text._part(source, name) for name in names)
        assert parts["held-out"] / 4000 == pytest.approx(held_out, abs=0.015)
        assert parts["sae-training"] / 4000 == pytest.approx(sae_training, abs=0.025)
        assert [text._part(source, name) for name in names[:50]] == [text._part(source, name) for name in names[:50]]
