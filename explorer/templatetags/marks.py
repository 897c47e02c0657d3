from collections.abc import Sequence

from django import template
from django.utils.safestring import SafeString

from explorer.markup import joined, written
from explorer.spelling import WORD

register = template.Library()


@register.simple_tag
def marked(text: str, words: Sequence[str]) -> SafeString:
    """A label with the words that somebody searched for, or that begin like them, marked."""
    wanted = tuple(word.casefold() for word in words)
    pieces = WORD.split(text)  # every other one is a word
    return joined("{}", ((written("<mark>{}</mark>" if _is(piece, wanted) else "{}", piece),) for piece in pieces))


def _is(piece: str, wanted: tuple[str, ...]) -> bool:
    return bool(piece) and piece.casefold().startswith(wanted)
