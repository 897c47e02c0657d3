import hashlib

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import LoginView, LogoutView
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from explorer.access import EVERYONE, allow
from explorer.actions import accounts
from explorer.actions import sign_in as links
from explorer.actions.limits import Limit, take
from explorer.forms.people import PasswordForm, RegistrationForm
from explorer.gates import address_of, household_of

# Guessing passwords: from one address; and of one person, from however many.
BY_ADDRESS = Limit("sign-in-from", capacity=20, per_second=1 / 10)
BY_NAME = Limit("sign-in-as", capacity=30, per_second=1 / 20)
REGISTRATIONS = Limit("register-from", capacity=5, per_second=1 / 600)

_sign_in = LoginView.as_view(template_name="sign_in/form.html", redirect_authenticated_user=True)
sign_out = allow(EVERYONE)(LogoutView.as_view())


@allow(EVERYONE)
def sign_in(request: HttpRequest) -> HttpResponseBase:
    if request.method == "POST":
        take(BY_ADDRESS, household_of(request))
        name = request.POST.get("username", "").casefold()
        take(BY_NAME, hashlib.sha256(name.encode(errors="replace")).hexdigest())
    return _sign_in(request)


@allow(EVERYONE)
@never_cache
@require_safe
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """The link that `manage.py up` prints; it works once."""
    user = links.use_link(token)
    if user is not None:
        login(request, user)
        return redirect("library")
    if request.user.is_authenticated:  # the same link again, from the browser's history
        return redirect("library")
    return render(request, "sign_in/used.html", status=403)


@allow(EVERYONE)
@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Asks for a password before the link is spent: what merely looks at links, as chat programs do, spends none."""
    link = links.find_link(token)
    if link is None:
        return render(request, "sign_in/used.html", status=403)
    form = PasswordForm(link.user, _posted(request))
    if form.is_valid():
        user = accounts.accept(link, form.cleaned_data["new_password1"], address=address_of(request))
        if user is None:
            return render(request, "sign_in/used.html", status=403)
        login(request, user)
        return redirect("library")
    ctx = {"form": form, "name": link.user.username}
    return render(request, "sign_in/invitation.html", ctx, status=422 if form.errors else 200)


@allow(EVERYONE)
@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    if not settings.OPEN_REGISTRATION:
        raise Http404("Registration is closed.")
    form = RegistrationForm(_posted(request))
    if request.method == "POST":
        take(REGISTRATIONS, household_of(request))
    if form.is_valid():
        name, password = form.cleaned_data["username"], form.cleaned_data["password1"]
        try:
            user = accounts.register(name, password, address=address_of(request))
        except accounts.NotPossible as why:  # made by another meanwhile
            form.add_error("username", str(why))
        else:
            login(request, user)
            return redirect("library")
    return render(request, "sign_in/register.html", {"form": form}, status=422 if form.errors else 200)


def _posted(request: HttpRequest) -> QueryDict | None:
    """A form that was sent empty was sent all the same."""
    return request.POST if request.method == "POST" else None
