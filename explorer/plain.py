"""Text from anywhere, made fit for PostgreSQL, for UTF-8 and for where it is shown."""

import re

UNFIT = re.compile("[\x00\ud800-\udfff]")


def plain(text: str) -> str:
    """PostgreSQL's text holds no NUL and UTF-8 no lone surrogate; each becomes the replacement character."""
    return UNFIT.sub("\ufffd", text)


def one_line(text: str) -> str:
    """On one line, whatever it was copied from."""
    return " ".join(plain(text).split())
