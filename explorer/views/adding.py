from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from explorer import roots
from explorer.access import allow
from explorer.actions import adding
from explorer.forms.adding import AddForm
from explorer.gates import address_of, signed_in
from explorer.models.access import Role
from explorer.uploads import did_not_fit


@allow(Role.RESEARCHER)
@require_http_methods(["GET", "HEAD", "POST"])
def sae_add(request: HttpRequest) -> HttpResponse:
    """Its address alone takes large uploads (front/uploads.py)."""
    if request.method != "POST":
        return _form(request, AddForm())
    form = AddForm(request.POST, request.FILES)
    if misfits := did_not_fit(request):
        form.add_error("upload", f"The disk is full: there was no room for {', '.join(misfits)}. Nothing was kept.")
    if not form.is_valid():
        return _form(request, form, status=422)
    try:
        job = adding.add(
            form.arguments, form.cleaned_data["upload"], by=signed_in(request), address=address_of(request)
        )
    except OSError as why:
        form.add_error("upload", f"These files could not be kept, and none was: {why.strerror or why}.")
        return _form(request, form, status=422)
    return redirect("job", job.pk)


def _form(request: HttpRequest, form: AddForm, *, status: int = 200) -> HttpResponse:
    ctx = {"form": form, "roots": settings.ROOTS, "found": roots.found(), "most": settings.UPLOAD_LIMIT}
    return render(request, "adding/add.html", ctx, status=status)
