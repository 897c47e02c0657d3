"""What the browser of features is asked for. A value that is none is named at its field, and filters nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import AnonymousUser, User
from django.http import QueryDict

from explorer import vocabulary
from explorer.forms.limits import BIGGEST_INDEX
from explorer.models import FeatureList, Sae
from explorer.queries.browsing import Place, Way
from explorer.queries.filtering import RISING, Filters, Fires, Range, Sort, lists_to_see
from explorer.queries.words import words_of
from explorer.singles import LARGEST
from explorer.tokens import token_ids

END = "end"
COLUMNS = {
    "label": "Label",
    "score": "Score",
    "n_fired": "Fires on",
    "density": "Density",
    "maximum": "Maximum",
    "mean": "Mean",
    "p99": "99th percentile",
    "decoder_norm": "Decoder norm",
    "neighbour_cosine": "Nearest",
    "encoder_cosine": "Encoder and decoder",
    "histogram": "Activations",
    "token": "Raises most",
    "example": "Strongest example",
}
USUAL = ["label", "density", "maximum", "histogram", "token", "example"]
TITLES = {
    "density": "Density",
    "maximum": "Maximum",
    "mean": "Mean when firing",
    "p99": "99th percentile",
    "decoder_norm": "Decoder norm",
    "neighbour_cosine": "Cosine of the nearest",
    "encoder_cosine": "Cosine of encoder and decoder",
    "score": "Mean score",
    "index": "Index",
}


class RealField(forms.FloatField):
    """As people type and copy numbers."""

    widget = forms.TextInput

    def __init__(self, **options: Any) -> None:
        limits = {"min_value": -LARGEST, "max_value": LARGEST}
        super().__init__(**(limits | options), required=False)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"inputmode": "decimal", "autocomplete": "off"}

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]  # a FloatField is no IntegerField
        return super().to_python(value.replace("\u2212", "-") if isinstance(value, str) else value)


class IndexField(forms.IntegerField):
    widget = forms.TextInput

    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=BIGGEST_INDEX, required=False)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {"inputmode": "numeric", "autocomplete": "off"}


class DensityField(RealField):
    """A share of tokens: 0.001, 1e-3 or 0.1 %."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=1, **options)

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]  # a FloatField is no IntegerField
        text = str(value or "").strip()
        share = super().to_python(text.removesuffix("%").strip())
        return share / 100 if share is not None and text.endswith("%") else share


class BrowserForm(forms.Form):
    sort = forms.ChoiceField(choices=[(each.value, each.value) for each in Sort], required=False)
    dir = forms.ChoiceField(choices=[("asc", "rising"), ("desc", "falling")], required=False)
    words = forms.CharField(
        max_length=200, required=False, label="Words of its label",
        widget=forms.TextInput(attrs={"placeholder": "or their beginnings", "dir": "auto", "autocomplete": "off"}),
    )  # fmt: skip
    token = forms.CharField(
        max_length=200, required=False, strip=False, label="Raises this token most",
        widget=forms.TextInput(attrs={"placeholder": "its text, or #id", "dir": "auto", "autocomplete": "off"})
    )  # fmt: skip
    fires = forms.ChoiceField(
        choices=[("", "or not"), ("yes", "yes"), ("never", "never"), ("ultra-low", "ultra-low"), ("dense", "dense")],
        required=False, label="Fires",
    )  # fmt: skip
    labelled = forms.ChoiceField(choices=[("", "or not"), ("yes", "yes"), ("no", "no")], required=False)
    density_min, density_max = DensityField(), DensityField()
    maximum_min, maximum_max = RealField(), RealField()
    mean_min, mean_max = RealField(), RealField()
    p99_min, p99_max = RealField(), RealField()
    decoder_norm_min, decoder_norm_max = RealField(), RealField()
    neighbour_cosine_min, neighbour_cosine_max = RealField(), RealField()
    encoder_cosine_min, encoder_cosine_max = RealField(), RealField()
    score_min, score_max = RealField(), RealField()
    index_min, index_max = IndexField(), IndexField()
    columns = forms.MultipleChoiceField(choices=[*COLUMNS.items()], required=False, widget=forms.CheckboxSelectMultiple)
    after, at = IndexField(), IndexField()
    before = forms.RegexField(rf"\A({END}|[0-9]{{1,9}})\Z", required=False)
    list = forms.ModelChoiceField(FeatureList.objects.none(), required=False, label="In the list", empty_label="any")

    def __init__(self, data: Any, sae: Sae, user: User | AnonymousUser) -> None:
        super().__init__(data)
        self._lm = sae.lm
        lists: Any = self.fields["list"]
        lists.queryset = lists_to_see(user)
        for name, title in TITLES.items():
            self.fields[f"{name}_min"].label = f"{title}, at least"
            self.fields[f"{name}_max"].label = f"{title}, at most"

    def clean_words(self) -> tuple[str, ...] | None:
        text = self.cleaned_data["words"]
        words = words_of(text)
        if text and not words:
            raise forms.ValidationError("There is no word in it.")
        return words or None

    def clean_token(self) -> tuple[int, ...] | None:
        text = self.cleaned_data["token"]
        if not text:
            return None
        ids = token_ids(vocabulary.of(self._lm), text)
        if not ids:
            raise forms.ValidationError(f"No token of {self._lm.name} is “{text}”.")
        return ids

    def clean(self) -> None:
        for name in TITLES:
            least, most = (self.cleaned_data.get(f"{name}_{end}") for end in ("min", "max"))
            if least is not None and most is not None and least > most:
                self.add_error(f"{name}_max", "It is less than the least.")
                del self.cleaned_data[f"{name}_min"]

    @property
    def ranges(self) -> Iterator[tuple[str, forms.BoundField, forms.BoundField]]:
        for name, title in TITLES.items():
            yield title, self[f"{name}_min"], self[f"{name}_max"]

    @property
    def filters(self) -> Filters:
        """What of it can be understood."""
        self.is_valid()
        given = self.cleaned_data.get
        sort = Sort(given("sort") or Sort.INDEX)
        ranges = (Range(name, given(f"{name}_min"), given(f"{name}_max")) for name in TITLES)
        chosen = given("list")
        return Filters(
            sort=sort,
            descending=given("dir") == "desc" if given("dir") else sort not in RISING,
            ranges=tuple(each for each in ranges if each.bounded),
            fires=Fires(fires) if (fires := given("fires")) else None,
            labelled={"yes": True, "no": False}.get(given("labelled") or ""),
            words=given("words"),
            tokens=given("token"),
            list=chosen.pk if chosen else None,
        )

    @property
    def place(self) -> Place | None:
        given = self.cleaned_data.get
        if before := given("before"):
            return Place(Way.BEFORE, None if before == END else int(before))
        return next((Place(way, given(way)) for way in (Way.AFTER, Way.AT) if given(way) is not None), None)

    @property
    def chosen_columns(self) -> Sequence[str]:
        return self.cleaned_data.get("columns") or USUAL


FILTERS = {name for name in BrowserForm.base_fields if name not in ("columns", "after", "before", "at")}


def filters_of(data: QueryDict, sae: Sae, user: User | AnonymousUser) -> Filters:
    """Those of the list that somebody came from; the usual ones where they came from none."""
    return BrowserForm(data, sae, user).filters if FILTERS & data.keys() else Filters()
