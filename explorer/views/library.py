from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer.access import READERS, allow, role_of
from explorer.models.access import Role
from explorer.queries import jobs as job_queries


@allow(READERS)
@require_safe
def library(request: HttpRequest) -> HttpResponse:
    jobs = job_queries.under_way() if role_of(request.user) >= Role.VIEWER else []
    return render(request, "library/library.html", {"jobs": jobs})
