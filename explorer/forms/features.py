from django import forms

USUALLY_AROUND = 16
AROUND = [("5", "±5 tokens"), ("16", "±16 tokens"), ("whole", "whole contexts")]


class AroundForm(forms.Form):
    """How much of a context is shown to both sides of the token that an example is of."""

    around = forms.TypedChoiceField(
        choices=AROUND,
        coerce=lambda value: None if value == "whole" else int(value),
        empty_value=USUALLY_AROUND,  # type: ignore[arg-type] # it is what coerce gives
        required=False,
    )


class LabelForm(forms.Form):
    label = forms.CharField(
        max_length=200, required=False,
        widget=forms.TextInput(attrs={"placeholder": "What it fires on, in a few words", "dir": "auto"}),
    )  # fmt: skip

    def clean_label(self) -> str:
        return " ".join(str(self.cleaned_data["label"]).split())
