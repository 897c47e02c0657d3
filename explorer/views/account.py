from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from explorer.access import allow
from explorer.actions import accounts, api_tokens
from explorer.forms.people import TokenForm, password_form
from explorer.gates import address_of, signed_in, token_to_revoke
from explorer.models.access import Role
from explorer.queries import access as access_queries


@allow(Role.VIEWER)
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    return _page(request)


@allow(Role.VIEWER)
@sensitive_post_parameters()
@require_POST
def account_password(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    form = password_form(user, request.POST)
    if not form.is_valid():
        return _page(request, password=form)
    accounts.set_password(user, form.cleaned_data["new_password1"], address=address_of(request))
    update_session_auth_hash(request, user)
    messages.success(request, "The password is changed. Everywhere else you are signed out.")
    return redirect("account")


@allow(Role.VIEWER)
@never_cache
@require_POST
def token_make(request: HttpRequest) -> HttpResponse:
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form)
    chosen = form.cleaned_data
    try:
        row, secret = api_tokens.make(
            signed_in(request), chosen["name"], chosen["scope"], chosen["lasts"], address=address_of(request)
        )
    except api_tokens.TooManyTokens as why:
        form.add_error(None, str(why))
        return _page(request, form=form)
    return _page(request, made=row, secret=secret)


@allow(Role.VIEWER)
@require_POST
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    user = signed_in(request)
    token = token_to_revoke(user, token_id)
    api_tokens.revoke(token, by=user, address=address_of(request))
    messages.success(request, f"The token {token} is revoked.")
    return redirect("account") if token.user_id == user.pk else redirect("person", token.user_id)


def _page(request: HttpRequest, **more: object) -> HttpResponse:
    user = signed_in(request)
    ctx = {
        "password": password_form(user),
        "form": TokenForm(),
        "tokens": access_queries.tokens_of(user),
        **more,
    }
    wrong = any(getattr(more.get(name), "errors", None) for name in ("form", "password"))
    return render(request, "account/account.html", ctx, status=422 if wrong else 200)
