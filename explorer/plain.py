"""Text from anywhere, made fit for PostgreSQL and for UTF-8."""


def plain(text: str) -> str:
    """PostgreSQL's text holds no NUL and UTF-8 no lone surrogate; both become the replacement character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
