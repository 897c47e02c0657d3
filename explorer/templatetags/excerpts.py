from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString

from explorer.excerpts import Excerpt, as_list

register = template.Library()


@register.simple_tag
def excerpt_list(excerpts: Iterable[Excerpt], around: str = "", pointed: bool = False) -> SafeString:
    return as_list(excerpts, whole=around == "whole", pointed=pointed)
