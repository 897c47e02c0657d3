from django import template
from django.utils.safestring import SafeString

from explorer import markup

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    return markup.markdown(text)
