from django import template
from django.utils.safestring import SafeString

from explorer.tokens import Vocabulary, alone

register = template.Library()


@register.simple_tag
def token(vocabulary: Vocabulary, number: int) -> SafeString | str:
    """One token; nothing where none is known (−1)."""
    return alone(vocabulary, number) if number >= 0 else ""
