from django import template
from django.utils.safestring import SafeString

from explorer import vocabulary
from explorer.models import LanguageModel
from explorer.tokens import Vocabulary, alone

register = template.Library()


@register.simple_tag
def token(words: Vocabulary, number: int) -> SafeString | str:
    """One token; nothing where none is known (−1)."""
    return alone(words, number) if number >= 0 else ""


@register.simple_tag
def token_of(lm: LanguageModel, number: int) -> SafeString:
    return alone(vocabulary.of(lm), number)
