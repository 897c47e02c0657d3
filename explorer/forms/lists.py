from typing import Any

from django import forms
from django.contrib.auth.models import User

from explorer.actions.lists import LONGEST_NAME, LONGEST_NOTE, LONGEST_NOTES
from explorer.forms.limits import BIGGEST_ID
from explorer.models import FeatureList
from explorer.queries import lists
from explorer.queries.lists import BOOKMARKS


class ListsForm(forms.Form):
    """Where a page of others' lists goes on."""

    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class EntriesForm(forms.Form):
    """Where a page of a list's entries goes on."""

    after = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class ListForm(forms.Form):
    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput(attrs={"dir": "auto"}))
    notes = forms.CharField(
        max_length=LONGEST_NOTES, required=False, widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text="What belongs in it, and why.",
    )  # fmt: skip
    shared = forms.BooleanField(required=False, initial=True, label="Others may see it")


class BookmarksForm(ListForm):
    """Which keep their name."""

    name = None  # type: ignore[assignment]  # as Django takes a field away


class NoteForm(forms.Form):
    note = forms.CharField(
        max_length=LONGEST_NOTE, required=False,
        widget=forms.TextInput(attrs={"placeholder": "Why it is kept", "dir": "auto"}),
    )  # fmt: skip


class ChooseForm(forms.Form):
    """Whether lists are shown to choose from."""

    choose = forms.BooleanField(required=False)


class KeepForm(NoteForm):
    """A feature goes into one's list, a new one or one's bookmarks, or out of it. A note that is not sent stays."""

    kept = forms.TypedChoiceField(
        choices=[("yes", "kept"), ("no", "not kept")], coerce=lambda value: value == "yes",
        empty_value=True, required=False,  # type: ignore[arg-type]  # it is what coerce gives
    )  # fmt: skip
    list = forms.ModelChoiceField(
        FeatureList.objects.none(), required=False,
        error_messages={"invalid_choice": "This list is no longer there, or is not yours."},
    )  # fmt: skip
    new = forms.CharField(
        max_length=LONGEST_NAME, required=False, label="Or a new one",
        widget=forms.TextInput(attrs={"placeholder": "Its name", "dir": "auto"}),
    )  # fmt: skip

    def __init__(self, data: Any, user: User, current: int | None = None) -> None:
        super().__init__(data, auto_id="keep_%s", initial={"list": current})
        field: Any = self.fields["list"]
        field.queryset = lists.own(user)
        # Bookmarks are not there before they are used.
        field.empty_label = None if field.queryset.filter(bookmarks=True).exists() else BOOKMARKS

    def clean_note(self) -> str | None:
        return self.cleaned_data["note"] if "note" in self.data else None
