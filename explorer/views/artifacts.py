from django.http import FileResponse, Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from explorer import artifacts
from explorer.access import READERS, allow
from explorer.models import Artifact


@allow(READERS)
@require_safe
def artifact(request: HttpRequest, sha256: str) -> FileResponse:
    """An attachment, never a page: what people bring must not run on our origin."""
    row = get_object_or_404(Artifact, sha256=sha256)
    try:
        path = artifacts.path(row.sha256)
    except artifacts.ArtifactMissing:
        raise Http404("The file is no longer there.") from None
    response = FileResponse(path.open("rb"), as_attachment=True, filename=row.name)
    response["Content-Type"] = row.media_type
    response["ETag"] = f'"{row.sha256}"'
    response["Cache-Control"] = "private, max-age=31536000, immutable"
    return response
