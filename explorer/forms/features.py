from typing import Any

from django import forms

from explorer.actions import labels
from explorer.forms.limits import BIGGEST_INDEX
from explorer.models import Sae
from explorer.plain import one_line
from explorer.queries.features import Which

USUALLY_AROUND = 16
AROUND = [("5", "±5 tokens"), ("16", "±16 tokens"), ("whole", "whole contexts")]


class ShowForm(forms.Form):
    """How a feature is shown: how much of a context to both sides of the token that an example is of, and whether in
    somebody else's page."""

    around = forms.TypedChoiceField(
        choices=AROUND,
        coerce=lambda value: None if value == "whole" else int(value),
        empty_value=USUALLY_AROUND,  # type: ignore[arg-type] # it is what coerce gives
        required=False,
        error_messages={"invalid_choice": "It can be 5, 16 or whole. This is 16."},
    )
    embed = forms.ChoiceField(
        choices=[("1", "yes")], required=False, error_messages={"invalid_choice": "It can be 1, or left out."}
    )

    @property
    def tokens_around(self) -> int | None:
        """None for whole contexts."""
        self.is_valid()
        found: int | None = self.cleaned_data.get("around", USUALLY_AROUND)
        return found

    @property
    def embedded(self) -> bool:
        self.is_valid()
        return bool(self.cleaned_data.get("embed"))


class BesideForm(forms.Form):
    """Which feature is set beside one: of the same SAE unless another is named."""

    feature = forms.IntegerField(
        min_value=0, max_value=BIGGEST_INDEX, label="Feature",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )  # fmt: skip
    sae = forms.ModelChoiceField(
        Sae.objects.select_related("lm").order_by("lm__name", "hookpoint", "n_latents", "name"),
        to_field_name="slug", required=False, label="Of", empty_label=None,
    )  # fmt: skip

    def __init__(self, data: Any, sae: Sae) -> None:
        super().__init__(data, initial={"sae": sae.slug})
        self._sae = sae

    def clean(self) -> None:
        sae, index = self.cleaned_data.get("sae") or self._sae, self.cleaned_data.get("feature")
        if index is not None and index >= sae.n_latents:
            self.add_error("feature", f"{sae.name} has features 0 to {sae.n_latents - 1:,}.")

    @property
    def chosen(self) -> tuple[Sae, int]:
        return self.cleaned_data["sae"] or self._sae, self.cleaned_data["feature"]


class RecomputeForm(forms.Form):
    examples = forms.TypedChoiceField(
        choices=[(each.value, each.value) for each in Which], required=False, empty_value=Which.TOP.value
    )


class LabelForm(forms.Form):
    label = forms.CharField(
        max_length=labels.LONGEST, required=False,
        widget=forms.TextInput(attrs={"placeholder": "What it fires on, in a few words", "dir": "auto"}),
    )  # fmt: skip

    def clean_label(self) -> str:
        return one_line(self.cleaned_data["label"])
