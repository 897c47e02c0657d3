"""Where a word of a label ends, the same to PostgreSQL and to Python.

PostgreSQL's own parser goes by the locale of its database: under C whatever is not ASCII is a letter, “quotes” too. And
what has a slash or a dot it takes for a path or a host, of which one word alone is not found.
"""

import re

# Between words, as both write it in brackets: what is no letter, digit or _ in ASCII, and the punctuation, spaces and
# pictures of other blocks. Marks that belong to letters, as Hindi has within words, are not among it.
APART = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb-\u00bf\u00d7\u00f7"
    r"\u05be\u060c\u061b\u061f\u06d4\u0964\u0965\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004"
    r"\u3008-\u3020\u3030\u30fb\ufe0f-\ufe1f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
    r"\uffe0-\uffff\U0001f000-\U0001faff"
)
WORD = re.compile(f"([^{APART}]+)")


def words_of(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text))
