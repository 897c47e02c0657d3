"""One token by itself, as in a table of logits, by the same audited renderer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.tokens import Vocabulary, alone, render
from tests.tokens.markup import spans

TOKENS = [b"<bos>", b" cat", b"\xe2\x82", b"\xac", b"<b>\"&'", b"\n", b"", "شرط".encode()]
WORDS = Vocabulary(TOKENS, frozenset([0]))


@pytest.mark.parametrize(
    ("token", "inside"),
    [
        (0, '<bdi class="special">&lt;bos&gt;</bdi>'),
        (1, " cat"),
        (2, '<bdi class="byte">E2 82</bdi>'),  # half a character is bytes
        (4, "&lt;b&gt;&quot;&amp;&#x27;"),
        (5, '<i class="break">\n</i>'),
        (6, '<bdi class="special">[6]</bdi>'),
        (7, "شرط"),
        (8, '<bdi class="special">[8]</bdi>'),  # beyond the vocabulary
    ],
)
def test_by_hand(token: int, inside: str) -> None:
    assert alone(WORDS, token) == f'<span class="token" dir="auto" title="token {token}">{inside}</span>'


@given(st.binary(min_size=1, max_size=12))
def test_it_shows_what_a_text_of_that_token_shows(token: bytes) -> None:
    _, _, inside = spans([token]).partition(">")
    assert alone(Vocabulary([token]), 0).partition(">")[2] == inside


@pytest.mark.parametrize(("at", "marked"), [(0, "1"), (1, "2 3"), (2, "2 3"), (3, "4"), (None, "")])
def test_a_token_is_pointed_out_by_its_place(at: int | None, marked: str) -> None:
    html = render(WORDS, [1, 2, 3, 4], [0.0, 1.0, 0.5, 0.0], at=at)
    assert re.findall(r'<span data-at[^>]* data-t="([0-9 ]+)"', html) == ([marked] if marked else [])
    assert html.replace(" data-at", "") == render(WORDS, [1, 2, 3, 4], [0.0, 1.0, 0.5, 0.0])


def test_as_text_for_programs() -> None:
    assert WORDS.text([1, 2, 3, 7, 99]) == [" cat", "\ufffd", "\ufffd", "شرط", ""]


def test_where_a_character_goes_on() -> None:
    assert [WORDS.continues(token) for token in range(9)] == [False, False, False, True, *[False] * 5]
