from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def of_key(values: Mapping[Any, int | None], key: Any) -> int | None:
    return values.get(key)
