"""What /patterns/ shows."""

from django import forms

SAMPLE_COLUMNS = ("index", "label", "density", "maximum", "token")


class SampleFilter(forms.Form):
    words = forms.CharField(required=False, max_length=100, label="Label contains")
    sort = forms.ChoiceField(choices=[(name, name) for name in SAMPLE_COLUMNS], required=False)
    dir = forms.ChoiceField(choices=[("asc", "rising"), ("desc", "falling")], required=False)


class SampleForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="How it is listed.")
    kind = forms.ChoiceField(label="Method", widget=forms.RadioSelect, initial="add",
                             choices=[("add", "Add"), ("clamp", "Clamp to a value"), ("ablate", "Ablate")])  # fmt: skip
    strength = forms.FloatField(min_value=-4, max_value=4, initial=1,
                                help_text="In units of the 99th percentile of its firing activations.")  # fmt: skip
    sae = forms.ChoiceField(
        choices=[("a", "gpt2-small, layer 8, 24,576 latents"), ("b", "pythia-70m, layer 3")], label="SAE"
    )
    control = forms.BooleanField(required=False, label="A random direction beside it")
    prompt = forms.CharField(widget=forms.Textarea, max_length=60, help_text="At most 60 characters.")
