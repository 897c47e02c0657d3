from django import forms


class SeenForm(forms.Form):
    """`?seen=`: what somebody has before them, so that only news is answered."""

    seen = forms.RegexField("[0-9a-f]{16}", required=False)
