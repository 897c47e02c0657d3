from django import template

from explorer import numbers

register = template.Library()
register.filter("count", numbers.count)


@register.filter
def significant(number: object) -> str:
    return numbers.significant(_known(number))


@register.filter
def percent(part: object) -> str:
    return numbers.percent(_known(part))


@register.filter
def share(part: int, whole: int) -> str:
    return numbers.significant(part / whole) if whole else "–"


def _known(number: object) -> float | None:
    """None for what a template did not find: metrics may be those of an older release."""
    return number if isinstance(number, int | float) else None
