"""What is asked of a study once it is made."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from explorer.actions.studies import LONGEST_GUIDELINES, LONGEST_NAME, LONGEST_WHY
from explorer.forms.limits import BIGGEST_ID, BIGGEST_INDEX
from explorer.studies.rubrics import Criterion, Points, WrongPoints, judged


class StudiesForm(forms.Form):
    """Where a page of studies goes on."""

    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class SubjectsForm(forms.Form):
    """Where a page of a study's subjects goes on."""

    after = forms.IntegerField(min_value=0, max_value=BIGGEST_INDEX, required=False)


class ShowForm(forms.Form):
    """Whether scores are shown on features' pages."""

    shown = forms.BooleanField(required=False)


class RenameForm(forms.Form):
    name = forms.CharField(
        max_length=LONGEST_NAME, widget=forms.TextInput(attrs={"dir": "auto"}),
        help_text="Annotators see it, so it should not tell what they score.",
    )  # fmt: skip


class ChangeForm(RenameForm):
    """As long as nobody goes by it."""

    guidelines = forms.CharField(
        max_length=LONGEST_GUIDELINES, required=False, widget=forms.Textarea(attrs={"rows": 12, "dir": "auto"}),
        help_text="Markdown. They stand beside every item.",
    )  # fmt: skip


class KnownForm(forms.Form):
    """The answer to an item, by the rubric of its study."""

    def __init__(self, data: Any, criteria: Sequence[Criterion], known: Mapping[str, Any] | None) -> None:
        now: dict[str, Any] = {f"points_{key}": value for key, value in (known or {}).get("points", {}).items()}
        super().__init__(data, initial=now | {"why": (known or {}).get("why", "")}, auto_id="known_%s")
        self._criteria = criteria
        self.points: Points = {}
        for each in criteria:
            self.fields[f"points_{each.key}"] = forms.TypedChoiceField(
                choices=[("", "–"), *((n, f"{n}: {anchor}") for n, anchor in enumerate(each.anchors))],
                coerce=int, empty_value=None, required=False, label=each.title, help_text=each.asks,
            )  # fmt: skip
        self.fields["why"] = forms.CharField(
            max_length=LONGEST_WHY, required=False, widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
            help_text="What is to be seen here.",
        )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        given = {each.key: self.cleaned_data.get(f"points_{each.key}") for each in self._criteria}
        if not self.errors:
            try:
                self.points = judged(self._criteria, given)
            except WrongPoints as why:
                for key, says in why.wrong.items():
                    self.add_error(f"points_{key}", says)
        return self.cleaned_data
