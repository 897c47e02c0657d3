from django.contrib.auth.views import LogoutView
from django.urls import path, register_converter
from django.urls.converters import StringConverter

from explorer.views import artifacts, events, health, jobs, library, sign_in


class Sha256Converter(StringConverter):
    """No other name reaches the rows or the store."""

    regex = "[0-9a-f]{64}"


register_converter(Sha256Converter, "sha256")

urlpatterns = [
    path("", library.library, name="library"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/diagnose/", jobs.diagnose, name="diagnose"),
    path("jobs/<int:job_id>/", jobs.job, name="job"),
    path("jobs/<int:job_id>/row/", jobs.job_row, name="job_row"),
    path("jobs/<int:job_id>/panel/", jobs.job_panel, name="job_panel"),
    path("jobs/<int:job_id>/cancel/", jobs.job_cancel, name="job_cancel"),
    path("jobs/<int:job_id>/retry/", jobs.job_retry, name="job_retry"),
    path("artifacts/<sha256:sha256>/", artifacts.artifact, name="artifact"),
    path("events/", events.events, name="events"),
    path("sign-in/", sign_in.sign_in, name="sign_in"),
    path("sign-in/<str:token>/", sign_in.sign_in_link, name="sign_in_link"),
    path("sign-out/", LogoutView.as_view(), name="sign_out"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]

handler500 = "explorer.views.errors.server_error"
