"""What of a context is shown, and what is folded: by hand, with the vocabulary a, b, c … and an emoji in four bytes."""

import pytest

from explorer.excerpts import Excerpt, excerpts
from explorer.queries.features import Shown
from explorer.tokens import Vocabulary

LETTERS = [letter.encode() for letter in "abcdefghijklmnopqrstuvwxyz"]
EMOJI = [bytes([each]) for each in "🙂".encode()]
WORDS = Vocabulary([*LETTERS, *EMOJI, "של".encode(), b"<b>"])
A, FIRST_BYTE, HEBREW, MARKUP = 0, 26, 30, 31


def shown(ids: list[int], position: int, *, value: float = 1.0, document: str = "a.txt", offset: int = 0) -> Shown:
    acts = [0.0] * len(ids)
    acts[position] = value
    return Shown(7, position, value, ids, acts, document, offset)


def cut(ids: list[int], position: int, around: int | None) -> Excerpt:
    (excerpt,) = excerpts(WORDS, [shown(ids, position)], around=around, peak=1.0)
    return excerpt


@pytest.mark.parametrize(
    ("position", "around", "tokens", "goes_on"),
    [(5, 2, 5, (True, True)), (0, 2, 3, (False, True)), (9, 2, 3, (True, False)), (5, None, 10, (False, False))],
)
def test_as_many_tokens_as_asked_to_both_sides(
    position: int, around: int | None, tokens: int, goes_on: tuple[bool, bool]
) -> None:
    excerpt = cut(list(range(10)), position, around)
    assert excerpt.text.count("data-t=") == tokens
    assert excerpt.cut == goes_on
    assert excerpt.marks == " data-before" * goes_on[0] + " data-after" * goes_on[1]


def test_no_character_is_cut_in_two() -> None:
    ids = [A, FIRST_BYTE, FIRST_BYTE + 1, FIRST_BYTE + 2, FIRST_BYTE + 3, A, A]
    for position in (5, 6):
        assert "🙂" in cut(ids, position, 1 if position == 5 else 2).text
    assert cut(ids, 0, 1).text.count("🙂") == 1


def test_a_context_of_2000_tokens_is_whole_or_a_window_of_it() -> None:
    ids = [place % 26 for place in range(2000)]
    assert cut(ids, 1000, None).text.count("data-t=") == 2000
    assert cut(ids, 1000, 16).text.count("data-t=") == 33
    assert 'data-first="984"' in cut(ids, 1000, 16).text


def test_the_same_window_elsewhere_is_folded_under_the_first() -> None:
    same = [shown([place % 3 for place in range(20)], position, value=9.0 - position) for position in (3, 6, 9)]
    other = shown([5] * 20, 6, value=5.5)
    found = excerpts(WORDS, [same[0], other, *same[1:]], around=2, peak=9.0)
    assert [each.value for each in found] == [6.0, 5.5]
    assert [each.value for each in found[0].alike] == [3.0, 0.0]
    assert found[1].alike == []


def test_the_same_text_at_another_of_its_tokens_is_another() -> None:
    ids = [0, 1, 2]
    assert len(excerpts(WORDS, [shown(ids, 0), shown(ids, 1)], around=None, peak=1.0)) == 2
    assert len(excerpts(WORDS, [shown(ids, 1), shown(ids, 1)], around=None, peak=1.0)) == 1


@pytest.mark.parametrize(
    ("document", "name"),
    [("docs/ref/a.txt", "a.txt"), ("a.txt", "a.txt"), ("docs/", "docs"), ("/", "/"), ("", ""), ("א/ב", "ב")],
)
def test_a_documents_name_is_its_paths_last_part(document: str, name: str) -> None:
    (excerpt,) = excerpts(WORDS, [shown([A], 0, document=document, offset=1234)], around=5, peak=1.0)
    assert excerpt.name == name
    assert excerpt.place == f"token 1,234 of {document}; context 7, position 0"


def test_text_is_text() -> None:
    excerpt = cut([HEBREW, MARKUP], 1, None)
    assert "&lt;b&gt;" in excerpt.text
    assert "של" in excerpt.text
    assert 'dir="auto"' in excerpt.text
