"""The API's description as a page, drawn from what openapi.json says."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer.access import READERS, allow
from explorer.api.service import ABOUT, service
from explorer.etags import revalidated


@allow(READERS)
@require_safe
@revalidated(lambda request: "guide")
def api_guide(request: HttpRequest) -> HttpResponse:
    paths = service.get_openapi_schema()["paths"]
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "who": operation["x-role"],
            "scope": operation["x-scope"],
            "status": next(iter(operation["responses"])),
            **operation,
            "parameters": [parameter | {"about": _pieces(_about(parameter))} for parameter in operation["parameters"]],
        }
        for path, of_path in paths.items()
        for method, operation in of_path.items()
    ]
    about = [_pieces(paragraph) for paragraph in ABOUT.split("\n\n")]
    return render(request, "api/guide.html", {"about": about, "operations": operations})


def _about(parameter: dict[str, Any]) -> str:
    found: str = parameter.get("description") or parameter["schema"].get("description", "")
    return found


def _pieces(markdown: str) -> list[str]:
    """Text and `code` by turns."""
    return markdown.split("`")
