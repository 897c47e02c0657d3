"""Labels by their words, as they are or as English bends them."""

from collections.abc import Sequence

from django.contrib.postgres.search import SearchQuery

from explorer import spelling

LONGEST = 200  # characters: none is longer than a label, and PostgreSQL takes no lexeme of any length


def words_of(text: str) -> tuple[str, ...]:
    return tuple(word[:LONGEST] for word in spelling.words_of(text))


def having_all(words: Sequence[str], *, begun: int) -> SearchQuery:
    """As many of the last ones as are `begun` may be beginnings."""
    whole = len(words) - begun
    asked = " & ".join(f"'{word}'{':*' if place >= whole else ''}" for place, word in enumerate(words))
    simple, english = (SearchQuery(asked, search_type="raw", config=config) for config in ("simple", "english"))
    return simple | english
