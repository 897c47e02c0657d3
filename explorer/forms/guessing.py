from django import forms

FEATURE, CONTROL = "f", "n"


class SaidForm(forms.Form):
    """What somebody took the items of a round for, so far."""

    said = forms.RegexField(r"\A[fn]{0,6}\Z", required=False)

    @property
    def answers(self) -> str:
        return str(self.cleaned_data["said"]) if self.is_valid() else ""
