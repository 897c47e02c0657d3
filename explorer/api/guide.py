"""The API's description as a page, drawn from what openapi.json says."""

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
        }
        for path, of_path in paths.items()
        for method, operation in of_path.items()
    ]
    return render(request, "api/guide.html", {"about": ABOUT.split("\n\n"), "operations": operations})
