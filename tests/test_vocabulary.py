"""Tokens in the artifact that pages read."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import artifacts, vocabulary
from explorer.models import LanguageModel


@given(st.lists(st.binary(max_size=12), max_size=40), st.sets(st.integers(0, 99_999), max_size=9))
def test_tokens_come_back_as_they_were(tokens: list[bytes], special: set[int]) -> None:
    found = vocabulary.read(vocabulary.write(tokens, special))
    assert list(found._tokens) == tokens
    assert found._special == special


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a vocabulary"):
        vocabulary.read(b"PNG\0" + bytes(40))


@pytest.mark.django_db
def test_an_lms_is_read_from_its_artifact() -> None:
    kept = artifacts.put(io.BytesIO(vocabulary.write([b"a", b"<s>"], {1})), name="vocabulary")
    lm = LanguageModel(vocabulary=kept)
    found = vocabulary.of(lm)
    assert (list(found._tokens), found._special) == ([b"a", b"<s>"], frozenset({1}))
    artifacts.remove(kept)
    assert vocabulary.of(lm) is found, "what is read once is kept"


def test_without_a_tokenizer_there_are_numbers() -> None:
    assert vocabulary.of(LanguageModel()).by_itself(7) == vocabulary.read(vocabulary.write([], {})).by_itself(7)
