from django.http import HttpRequest, JsonResponse
from django.urls import path

from explorer.views.health import readyz


def whoami(request: HttpRequest) -> JsonResponse:
    claims = [name for name in request.META if "FORWARDED" in name or "REAL_IP" in name]
    return JsonResponse({"address": request.META["REMOTE_ADDR"], "scheme": request.scheme, "claims": claims})


async def whoami_by_asgi(request: HttpRequest) -> JsonResponse:
    return whoami(request)


urlpatterns = [path("whoami/", whoami), path("events/", whoami_by_asgi), path("readyz", readyz)]
