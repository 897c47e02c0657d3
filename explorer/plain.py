"""Text from anywhere, made fit for PostgreSQL and for UTF-8."""

import re

UNFIT = re.compile("[\x00\ud800-\udfff]")


def plain(text: str) -> str:
    """PostgreSQL's text holds no NUL and UTF-8 no lone surrogate; each becomes the replacement character."""
    return UNFIT.sub("\ufffd", text)
