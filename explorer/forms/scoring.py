"""What somebody gives an item, as a page sends it."""

from collections.abc import Sequence
from typing import Any

from django import forms

from explorer.actions.slots import LONGEST_HYPOTHESIS, LONGEST_NOTE, LONGEST_REASON
from explorer.studies.rubrics import MOST_POINTS, Criterion

REASONS = ("A language I cannot read", "The text is broken", "I would rather not read this")


class SayForm(forms.Form):
    hypothesis = forms.CharField(
        max_length=LONGEST_HYPOTHESIS, required=False, label="What fires here?",
        widget=forms.Textarea(attrs={
            "rows": 2, "dir": "auto", "placeholder": "The narrowest description that covers what is emphasised",
        }),
    )  # fmt: skip
    none = forms.BooleanField(required=False)
    form = forms.UUIDField(required=False)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if not given.get("none") and not given.get("hypothesis", "").strip() and "hypothesis" not in self.errors:
            self.add_error("hypothesis", "Say what it is, or that there is nothing that you can name.")
        return given

    @property
    def text(self) -> str:
        return "" if self.cleaned_data["none"] else self.cleaned_data["hypothesis"]


class PointsForm(forms.Form):
    """Points by criterion, a note, a flag. Whether points fit the rubric is asked where they are counted."""

    form = forms.UUIDField()
    note = forms.CharField(
        max_length=LONGEST_NOTE, required=False, widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"})
    )
    flagged = forms.BooleanField(required=False, label="Flag it: somebody should look at this")

    def __init__(self, data: Any, criteria: Sequence[Criterion], **others: Any) -> None:
        super().__init__(data, **others)
        self.criteria = criteria
        for each in criteria:
            self.fields[f"points_{each.key}"] = forms.IntegerField(
                min_value=0, max_value=MOST_POINTS, required=False, label=each.title
            )

    @property
    def points(self) -> dict[str, int]:
        """Those that are given."""
        found = {each.key: self.cleaned_data.get(f"points_{each.key}") for each in self.criteria}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def given(self) -> dict[str, Any]:
        return {
            "points": self.points,
            "note": self.cleaned_data.get("note", ""),
            "flagged": bool(self.cleaned_data.get("flagged")),
        }


class DraftForm(PointsForm):
    """As far as somebody is."""

    form = forms.UUIDField(required=False)
    hypothesis = forms.CharField(max_length=LONGEST_HYPOTHESIS, required=False)

    @property
    def given(self) -> dict[str, Any]:
        return super().given | {"hypothesis": self.cleaned_data.get("hypothesis", "")}


class SkipForm(forms.Form):
    reason = forms.CharField(
        max_length=LONGEST_REASON, label="Why?", widget=forms.TextInput(attrs={"dir": "auto", "list": "reasons"})
    )
