from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from explorer.access import allow, role_of
from explorer.actions import accounts
from explorer.forms.people import ActiveForm, AuditFilter, InvitationForm, RoleForm
from explorer.gates import address_of, person_to_see, signed_in
from explorer.models.access import Role
from explorer.queries import access as access_queries


@allow(Role.ADMIN)
@require_safe
def people(request: HttpRequest) -> HttpResponse:
    return _people(request, InvitationForm())


@allow(Role.ADMIN)
@never_cache
@require_POST
def person_invite(request: HttpRequest) -> HttpResponse:
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _people(request, form, status=422)
    chosen = form.cleaned_data
    try:
        user, token = accounts.invite(
            chosen["username"], chosen["role"], by=signed_in(request), address=address_of(request)
        )
    except accounts.NotPossible as why:  # made by another meanwhile
        form.add_error("username", str(why))
        return _people(request, form, status=422)
    return _people(request, InvitationForm(), invited=user, link=_address(request, token))


@allow(Role.ADMIN)
@require_safe
def person(request: HttpRequest, person_id: int) -> HttpResponse:
    return _person(request, person_id)


@allow(Role.ADMIN)
@require_POST
def person_role(request: HttpRequest, person_id: int) -> HttpResponse:
    person, form = person_to_see(person_id), RoleForm(request.POST)
    if not form.is_valid():
        return _person(request, person_id, form=form, status=422)
    try:
        accounts.set_role(person.pk, form.cleaned_data["role"], by=signed_in(request), address=address_of(request))
    except accounts.NotPossible as why:
        messages.error(request, str(why))
    return redirect("person", person_id)


@allow(Role.ADMIN)
@require_POST
def person_active(request: HttpRequest, person_id: int) -> HttpResponseRedirect:
    person, form = person_to_see(person_id), ActiveForm(request.POST)
    try:
        if form.is_valid():
            accounts.set_active(
                person.pk, form.cleaned_data["active"], by=signed_in(request), address=address_of(request)
            )
    except accounts.NotPossible as why:
        messages.error(request, str(why))
    return redirect("person", person_id)


@allow(Role.ADMIN)
@never_cache
@require_POST
def person_link(request: HttpRequest, person_id: int) -> HttpResponse:
    try:
        _, token = accounts.make_link(person_to_see(person_id).pk, by=signed_in(request), address=address_of(request))
    except accounts.NotPossible as why:
        messages.error(request, str(why))
        return redirect("person", person_id)
    return _person(request, person_id, link=_address(request, token))


@allow(Role.ADMIN)
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    form = AuditFilter(request.GET)
    chosen: dict[str, Any] = form.cleaned_data if form.is_valid() else {"action": "", "actor": "", "below": None}
    page = access_queries.audit(chosen["action"], chosen["actor"], chosen["below"])
    return render(request, "people/audit.html", {"form": form, "page": page, "chosen": chosen})


def _people(request: HttpRequest, form: InvitationForm, *, status: int = 200, **more: object) -> HttpResponse:
    rows = [(user, role_of(user)) for user in access_queries.people()]
    return render(request, "people/people.html", {"people": rows, "form": form, **more}, status=status)


def _person(
    request: HttpRequest, person_id: int, *, form: RoleForm | None = None, status: int = 200, **more: object
) -> HttpResponse:
    person = person_to_see(person_id)
    ctx = {
        "person": person,
        "their_role": role_of(person),
        "form": form or RoleForm(initial={"role": role_of(person)}),
        "tokens": access_queries.tokens_of(person),
        **more,
    }
    return render(request, "people/person.html", ctx, status=status)


def _address(request: HttpRequest, token: str) -> str:
    return request.build_absolute_uri(reverse("invitation", args=[token]))
