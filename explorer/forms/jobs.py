from typing import Any

from django import forms

from explorer.forms.limits import BIGGEST_ID
from explorer.models.jobs import JobState

MOST_JOBS = 100  # that one stream carries


class JobFilter(forms.Form):
    state = forms.ChoiceField(choices=[("", "all"), *JobState.choices], required=False)
    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class StreamForm(forms.Form):
    """`?job=1&job=2`, and where a stream that was cut off goes on: `job:attempt:length,…`."""

    job = forms.TypedMultipleChoiceField(coerce=int)
    last_event_id = forms.RegexField(r"\A(\d{1,18}:\d{1,9}:\d{1,18}(,|\Z))*\Z", required=False, strip=True)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        ids = [value for value in data.getlist("job") if value.isascii() and value.isdecimal() and len(value) < 19]
        self.fields["job"].choices = [(value, value) for value in ids[:MOST_JOBS]]  # type: ignore[attr-defined]

    def clean_last_event_id(self) -> dict[int, tuple[int, int]]:
        places = {}
        for part in filter(None, self.cleaned_data["last_event_id"].split(",")):
            job, attempt, length = map(int, part.split(":"))
            places[job] = (attempt, length)
        return places
