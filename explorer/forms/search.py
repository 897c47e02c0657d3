"""What is searched for, and how what was found is looked at."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings

from explorer.forms.limits import BIGGEST_INDEX
from explorer.models import Sae
from explorer.readings import By
from explorer.searching import Asked, Kind

LONGEST = 2_000  # characters of what is searched for
LONGEST_VECTOR = 40_000  # which an address still takes
MOST_PAGES = 200


class SearchForm(forms.Form):
    """`saes` are all there are. One that cannot be understood leaves nothing to search, and is named."""

    kind = forms.ChoiceField(choices=[(each.value, each.value) for each in Kind], required=False)
    q = forms.CharField(max_length=LONGEST_VECTOR, required=False, strip=False, label="Search for")
    sae = forms.ChoiceField(required=False, label="In", choices=[])
    of = forms.ChoiceField(required=False, label="A feature of", choices=[])
    page = forms.IntegerField(min_value=1, max_value=MOST_PAGES, required=False)

    def __init__(self, data: Any, saes: Sequence[Sae]) -> None:
        super().__init__(data)
        self._saes = {sae.slug: sae for sae in saes}
        named = [(sae.slug, sae.name) for sae in saes]
        for name in ("sae", "of"):
            field: Any = self.fields[name]
            field.choices = [("", "All SAEs"), *named]

    def clean_q(self) -> str:
        text: str = self.cleaned_data["q"]
        if len(text) > LONGEST and not text.lstrip().startswith("["):
            raise forms.ValidationError(f"At most {LONGEST:,} characters are searched for; this has {len(text):,}.")
        return text

    @property
    def asked(self) -> Asked:
        """What of it can be understood; where nothing can, nothing is searched for."""
        self.is_valid()
        given = self.cleaned_data.get
        sae = self._saes.get(given("sae") or "")
        return Asked(
            q="" if self.errors else given("q") or "",
            chosen=Kind(kind) if (kind := given("kind")) else None,
            sae=sae,
            of=self._saes.get(given("of") or "") or sae,
            page=given("page") or 1,
        )


class OwnTextForm(forms.Form):
    """A text that is run through an lm."""

    text = forms.CharField(
        strip=False, label="Text",
        widget=forms.Textarea(attrs={"placeholder": "A sentence, some code", "dir": "auto", "rows": 3}),
    )  # fmt: skip

    def clean_text(self) -> str:
        # A browser sends what was pasted with the line ends of a form.
        text = str(self.cleaned_data["text"]).replace("\r\n", "\n")
        most = settings.TEXT_CHARACTERS
        if len(text) > most:
            raise forms.ValidationError(f"At most {most:,} characters are read at a time; this has {len(text):,}.")
        if not text.strip():
            raise forms.ValidationError("There is nothing in it.")
        return text


class TextForm(OwnTextForm):
    """Through an SAE that is chosen."""

    sae = forms.ChoiceField(label="Run through", choices=[])

    def __init__(self, data: Any, saes: Sequence[Sae], initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self._saes = {sae.slug: sae for sae in saes}
        field: Any = self.fields["sae"]
        field.choices = [(sae.slug, sae.name) for sae in saes]

    @property
    def through(self) -> Sae:
        return self._saes[self.cleaned_data["sae"]]


class ReadingForm(forms.Form):
    """How what was found of a text is shown: which tokens are clicked, by their positions, and in which order."""

    at = forms.RegexField(
        r"\A[0-9]{1,4}(,[0-9]{1,4}){0,63}\Z", required=False,
        error_messages={"invalid": "Positions are numbers with commas between, at most 64 of them."},
    )  # fmt: skip
    by = forms.ChoiceField(choices=[(each.value, each.value) for each in By], required=False)
    feature = forms.IntegerField(min_value=0, max_value=BIGGEST_INDEX, required=False)

    @property
    def positions(self) -> list[int]:
        return sorted({int(each) for each in (self.cleaned_data.get("at") or "").split(",") if each})

    @property
    def order(self) -> By:
        by = By(self.cleaned_data.get("by") or (By.CLICKED if self.positions else By.MAXIMUM))
        return By.MAXIMUM if by is By.CLICKED and not self.positions else by
