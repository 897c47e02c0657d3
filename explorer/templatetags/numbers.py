from django import template

from explorer import numbers

register = template.Library()
register.filter("count", numbers.count)
register.filter("significant", numbers.significant)
register.filter("percent", numbers.percent)


@register.filter
def share(part: int, whole: int) -> str:
    return numbers.significant(part / whole) if whole else "–"
