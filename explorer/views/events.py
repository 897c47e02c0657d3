from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from explorer.access import EVERYONE, allow
from explorer.forms.jobs import StreamForm
from explorer.queries.steerings import only_steerings
from explorer.streams import JobStream


@allow(EVERYONE)  # a redirect to a form is no answer to an EventSource; refused below, but for what visitors may start
@require_safe
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """One stream for all jobs that a page shows: /events/?job=1&job=2"""
    data = request.GET.copy()
    if "Last-Event-ID" in request.headers:  # a browser that reconnects sends it beside the older address
        data["last_event_id"] = request.headers["Last-Event-ID"]
    form = StreamForm(data)
    if not form.is_valid():
        return HttpResponseBadRequest("Name the jobs to follow: ?job=1&job=2", content_type="text/plain")
    user, ids = await request.auser(), form.cleaned_data["job"]
    if not user.is_authenticated and not (settings.OPEN_READING and await sync_to_async(only_steerings)(ids)):
        return HttpResponse("Sign in to follow jobs.", status=401, content_type="text/plain")
    stream = JobStream(ids, form.cleaned_data["last_event_id"])
    # Streams last; held through one, a few of them would empty the pool and every page would wait.
    await sync_to_async(connections.close_all)()
    response = StreamingHttpResponse(stream.events(), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response
