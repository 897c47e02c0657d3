from django import forms

from explorer.actions.adjudications import LONGEST_NOTE
from explorer.forms.limits import BIGGEST_ID
from explorer.models.studies import Meaning
from explorer.results.items import Sort

RISING = {Sort.NUMBER, Sort.AGREEMENT}  # unless asked otherwise: the lowest agreement comes first


class ItemsForm(forms.Form):
    """In which order a study's items stand, and after how many a page of them goes on."""

    sort = forms.ChoiceField(choices=[(each.value, each.value) for each in Sort], required=False)
    dir = forms.ChoiceField(choices=[("asc", "rising"), ("desc", "falling")], required=False)
    after = forms.IntegerField(min_value=0, max_value=BIGGEST_ID, required=False)

    @property
    def order(self) -> tuple[Sort, bool]:
        """What of it can be understood; whether it falls."""
        self.is_valid()
        sort = Sort(self.cleaned_data.get("sort") or Sort.AGREEMENT)
        chosen = self.cleaned_data.get("dir")
        return sort, chosen == "desc" if chosen else sort not in RISING

    @property
    def start(self) -> int:
        self.is_valid()
        return self.cleaned_data.get("after") or 0


class ScoresForm(forms.Form):
    """Of a download: whether what others have replaced is in it too."""

    all = forms.BooleanField(required=False)


class SubjectForm(forms.Form):
    """Which subject's hypotheses are looked at."""

    subject = forms.IntegerField(min_value=0, max_value=2**31 - 1, required=False)


class AdjudicateForm(forms.Form):
    subject = forms.IntegerField(
        min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput,
        error_messages={"required": "It does not say what was judged.", "invalid": "There is no such subject."},
    )  # fmt: skip
    meaning = forms.ChoiceField(
        choices=Meaning.choices, widget=forms.RadioSelect, label="These mean",
        error_messages={"required": "Say whether they mean the same."},
    )  # fmt: skip
    note = forms.CharField(
        max_length=LONGEST_NOTE, required=False, label="Why", widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"})
    )


class ImportForm(forms.Form):
    file = forms.FileField(
        label="File of scores", widget=forms.ClearableFileInput(attrs={"accept": ".csv,.jsonl,.ndjson,.json"})
    )
