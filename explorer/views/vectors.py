from array import array

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from explorer import artifacts, vectors
from explorer.access import READERS, allow
from explorer.gates import sae_to_see
from explorer.models import Sae
from explorer.vectors import Side


@allow(READERS)
@require_safe
def vector_npy(request: HttpRequest, slug: str, index: int, side: str) -> HttpResponse:
    sae, numbers = _vector(slug, index, side)
    name = content_disposition_header(True, f"{sae.slug}-{index}-{side}.npy")
    headers = {"Content-Disposition": name}
    return HttpResponse(vectors.npy(numbers), content_type="application/octet-stream", headers=headers)


@allow(READERS)
@require_safe
def vector_json(request: HttpRequest, slug: str, index: int, side: str) -> JsonResponse:
    sae, numbers = _vector(slug, index, side)
    decoder = side == Side.DECODER
    hookpoint = (decoder and sae.hookpoint_out) or sae.hookpoint
    about = {"sae": sae.slug, "fingerprint": sae.fingerprint, "index": index, "hookpoint": hookpoint}
    return JsonResponse(about | {"side": side, "vector": numbers.tolist()})


def _vector(slug: str, index: int, side: str) -> tuple[Sae, "array[float]"]:
    sae = sae_to_see(slug)
    if index >= sae.n_latents or side not in list(Side):
        raise Http404(f"{sae.name} has no such direction.")
    try:
        return sae, vectors.vector(sae, index, Side(side))
    except artifacts.ArtifactMissing:
        raise Http404(f"The weights of {sae.name} are no longer there.") from None
