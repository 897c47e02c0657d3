"""A map's tiles, by the hash of the file that they are in: what is at such an address never changes."""

import gzip
from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from explorer.access import READERS, allow
from explorer.artifacts import ArtifactMissing
from explorer.packed import tiles
from explorer.packed.tiles import NoTile, TileFile
from explorer.queries import maps

FOR_EVER = "private, max-age=31536000, immutable"


@allow(READERS)
@require_safe
def map_index(request: HttpRequest, sha256: str) -> HttpResponse:
    return _zipped(request, _read(sha256, TileFile.index), "application/json")


@allow(READERS)
@require_safe
def map_points(request: HttpRequest, sha256: str, z: int, x: int, y: int) -> HttpResponse:
    data = _read(sha256, lambda file: file.points(f"{z}/{x}/{y}"))
    return _zipped(request, data, "application/octet-stream")


@allow(READERS)
@require_safe
def map_density(request: HttpRequest, sha256: str, z: int, x: int, y: int) -> HttpResponse:
    data = _read(sha256, lambda file: file.density(f"{z}/{x}/{y}"))
    return HttpResponse(data, content_type="image/png", headers={"Cache-Control": FOR_EVER})


def _read(sha256: str, part: Callable[[TileFile], bytes]) -> bytes:
    """Of a map's file: another artifact's bytes are no tiles."""
    if not maps.has_tiles(sha256):
        raise Http404("There is no map of these tiles.")
    try:
        return part(tiles.opened(sha256))
    except NoTile as why:
        raise Http404(str(why)) from None
    except (ArtifactMissing, FileNotFoundError):
        raise Http404("The file is no longer there.") from None


def _zipped(request: HttpRequest, data: bytes, content_type: str) -> HttpResponse:
    """As it was zipped once, except for whoever does not take that."""
    response = HttpResponse(content_type=content_type, headers={"Cache-Control": FOR_EVER})
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = data
        response.headers["Content-Encoding"] = "gzip"
    else:
        response.content = gzip.decompress(data)
    patch_vary_headers(response, ["Accept-Encoding"])
    return response
