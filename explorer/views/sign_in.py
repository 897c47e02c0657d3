from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from explorer.actions.sign_in import use_link

sign_in = LoginView.as_view(template_name="sign_in/form.html", redirect_authenticated_user=True)


@login_not_required
@never_cache
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """The link that `manage.py up` prints; it works once."""
    user = use_link(token)
    if user is not None:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("library")
    if request.user.is_authenticated:  # the same link again, from the browser's history
        return redirect("library")
    return render(request, "sign_in/used.html", status=403)
