from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from explorer.queries import jobs as job_queries


def library(request: HttpRequest) -> HttpResponse:
    return render(request, "library/library.html", {"jobs": job_queries.under_way()})
