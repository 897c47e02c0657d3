from django.http import HttpRequest

HEADERS = ("HX-Request", "HX-History-Restore-Request")  # what an answer depends on that may be a part


def wants_part(request: HttpRequest) -> bool:
    """Whether htmx asks for the part of a page that it puts in place; going back, it asks for the whole."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers
