from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.text import slugify
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import list_files, sheets
from explorer.access import READERS, allow, may_remove_list
from explorer.actions import lists as list_actions
from explorer.forms.lists import BookmarksForm, ChooseForm, EntriesForm, KeepForm, ListForm, ListsForm, NoteForm
from explorer.gates import (
    address_of,
    entry_to_change,
    list_to_change,
    list_to_remove,
    list_to_see,
    sae_of_feature,
    signed_in,
)
from explorer.keeping import current_list, keeping, used
from explorer.models import FeatureList, Sae
from explorer.models.access import Role
from explorer.parts import HEADERS, wants_part
from explorer.queries import lists as list_queries


@allow(READERS)
@require_safe
def lists(request: HttpRequest) -> HttpResponse:
    return _lists(request, ListForm())


@allow(Role.VIEWER)
@require_POST
def list_make(request: HttpRequest) -> HttpResponse:
    form = ListForm(request.POST)
    if not form.is_valid():
        return _lists(request, form, status=422)
    try:
        made = list_actions.make(**form.cleaned_data, by=signed_in(request))
    except list_actions.NotPossible as why:
        form.add_error(None, str(why))
        return _lists(request, form, status=422)
    return redirect("list", made.pk)


@allow(READERS)
@require_safe
def feature_list(request: HttpRequest, list_id: int) -> HttpResponse:
    found = list_to_see(request.user, list_id)
    return _list(request, found, _form_of(found))


@allow(READERS)
@require_safe
def list_sheet(request: HttpRequest, list_id: int, sheet: str) -> StreamingHttpResponse:
    found = list_to_see(request.user, list_id)
    name = slugify(found.name) or f"list-{found.pk}"
    return sheets.download(name, sheet, list_files.COLUMNS, list_files.records(found))


@allow(Role.VIEWER)
@require_POST
def list_change(request: HttpRequest, list_id: int) -> HttpResponse:
    found = list_to_change(signed_in(request), list_id)
    form = _form_of(found, request.POST)
    if not form.is_valid():
        return _list(request, found, form, status=422)
    list_actions.change(found, **{"name": found.name} | form.cleaned_data)
    return redirect("list", list_id)


@allow(Role.VIEWER)
@require_POST
def list_remove(request: HttpRequest, list_id: int) -> HttpResponseRedirect:
    found = list_to_remove(signed_in(request), list_id)
    list_actions.remove(found, by=signed_in(request), address=address_of(request))
    messages.success(request, f"{found.name} is removed.")
    return redirect("lists")


@allow(Role.VIEWER)
@require_POST
def entry_note(request: HttpRequest, list_id: int, entry_id: int) -> HttpResponse:
    entry, form = entry_to_change(signed_in(request), list_id, entry_id), NoteForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"The note on feature {entry.index}: {form.errors['note'][0]}")
    else:
        list_actions.annotate(entry, form.cleaned_data["note"])
    return _back(request, list_id)


@allow(Role.VIEWER)
@require_POST
def entry_remove(request: HttpRequest, list_id: int, entry_id: int) -> HttpResponse:
    entry = entry_to_change(signed_in(request), list_id, entry_id)
    list_actions.drop(entry.list, entry.sae, entry.index)
    return _back(request, list_id)


@allow(Role.VIEWER)
@require_http_methods(["GET", "HEAD", "POST"])
def feature_keep(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    """Puts a feature into one of one's lists or takes it out; asked, shows them to choose from."""
    sae, user = sae_of_feature(slug, index), signed_in(request)
    if request.method != "POST":
        choosing = KeepForm(None, user, current_list(request)) if _chooses(request) else None
        return _keep(request, sae, index, choosing=choosing)
    form = KeepForm(request.POST, user)
    if not form.is_valid():
        return _keep(request, sae, index, choosing=form, status=422)
    try:
        said = _kept(request, user, sae, index, form.cleaned_data)
    except list_actions.NotPossible as why:
        form.add_error(None, str(why))
        return _keep(request, sae, index, choosing=form, status=422)
    return _keep(request, sae, index, said=said) if wants_part(request) else redirect("feature", slug, index)


def _kept(request: HttpRequest, user: User, sae: Sae, index: int, chosen: dict[str, Any]) -> str:
    """What is said of it afterwards."""
    if chosen["new"]:
        found = list_actions.make(chosen["new"], shared=True, by=user)
    else:
        found = chosen["list"] or list_actions.bookmarks(user)
    if chosen["kept"]:
        list_actions.keep(found, sae, index, by=user, text=chosen["note"])
    else:
        list_actions.drop(found, sae, index)
    used(request, found)
    return f"{'Kept in' if chosen['kept'] else 'No longer in'} {found.name}."


def _keep(
    request: HttpRequest, sae: Sae, index: int, *, choosing: KeepForm | None = None, said: str = "", status: int = 200
) -> HttpResponse:
    ctx = {"sae": sae, "index": index, "keeping": keeping(request, sae.slug, index), "choosing": choosing, "said": said}
    part = wants_part(request)
    response = render(request, "features/kept.html" if part else "lists/keep.html", ctx, status=status)
    patch_vary_headers(response, HEADERS)
    return response


def _chooses(request: HttpRequest) -> bool:
    form = ChooseForm(request.GET)
    return not wants_part(request) or (form.is_valid() and form.cleaned_data["choose"])


def _lists(request: HttpRequest, making: ListForm, *, status: int = 200) -> HttpResponse:
    form = ListsForm(request.GET)
    below = form.cleaned_data["below"] if form.is_valid() else None
    ctx = {"form": form, "lists": list_queries.lists(request.user, below), "making": making, "below": below}
    return render(request, "lists/lists.html", ctx, status=status)


def _list(request: HttpRequest, found: FeatureList, changing: ListForm, *, status: int = 200) -> HttpResponse:
    form = EntriesForm(request.GET)
    after = form.cleaned_data["after"] if form.is_valid() else None
    ctx = {
        "list": found,
        "form": form,
        "page": list_queries.entries(found, after),
        "saes": list_queries.by_sae(found),
        "changing": changing,
        "may_change": found.owner_id is not None and found.owner_id == request.user.pk,
        "may_remove": may_remove_list(request.user, found),
        "longest_note": list_actions.LONGEST_NOTE,
    }
    return render(request, "lists/list.html", ctx, status=status)


def _form_of(found: FeatureList, data: Any = None) -> ListForm:
    now = {"name": found.name, "notes": found.notes, "shared": found.shared}
    return (BookmarksForm if found.bookmarks else ListForm)(data, initial=now)


def _back(request: HttpRequest, list_id: int) -> HttpResponseRedirect:
    """To the page of entries that one was on."""
    form = EntriesForm(request.GET)
    after = form.cleaned_data["after"] if form.is_valid() else None
    return redirect(reverse("list", args=[list_id], query={"after": after} if after else None))
