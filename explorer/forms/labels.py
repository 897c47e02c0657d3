from django import forms

from explorer.forms.limits import BIGGEST_ID


class HistoryForm(forms.Form):
    """Where a page of labels given, the newest first, goes on."""

    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class DownloadForm(forms.Form):
    history = forms.BooleanField(required=False)


class ImportForm(forms.Form):
    file = forms.FileField(
        label="File of labels", widget=forms.ClearableFileInput(attrs={"accept": ".csv,.jsonl,.ndjson,.json"}),
        help_text="CSV whose first line names the columns index and label, or a JSON object a line with these keys. "
        "An empty label takes one away; what the file does not name stays as it is.",
    )  # fmt: skip
