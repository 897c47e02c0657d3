"""What a map's page is asked for, all of it in its address; and how a map is to be made."""

import math
import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import QuerySet

from explorer.forms.limits import BIGGEST_ID, BIGGEST_INDEX
from explorer.map_areas import Area, Corner
from explorer.models import FeatureMap, Sae

MOST_CORNERS = 500
COLOURS = {
    "density": "density",
    "maximum": "maximum",
    "mean": "mean when firing",
    "cluster-0": "coarse clusters",
    "cluster-1": "clusters",
    "cluster-2": "fine clusters",
    "labelled": "labelled or not",
    "sae": "SAE",
}
FURTHEST = 24.0  # doublings that one can come near


class NumbersField(forms.CharField):
    """So many numbers, by commas; an empty field is None."""

    def __init__(self, *, says: str, count: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(required=False, max_length=200)
        self.says, self.count, self.low, self.high = says, count, low, high

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return numbers_of(text, self.count, self.low, self.high, self.says) if text else None


def numbers_of(text: str, count: int, low: float, high: float, says: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(each) for each in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not all(math.isfinite(each) and low <= each <= high for each in numbers):
        raise forms.ValidationError(says)
    return numbers


class LassoField(forms.CharField):
    """Corners as x,y with _ between them."""

    def __init__(self) -> None:
        super().__init__(required=False, max_length=30 * MOST_CORNERS)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        corners = text.split("_") if text else []
        if text and not 3 <= len(corners) <= MOST_CORNERS:
            raise forms.ValidationError(f"A lasso has 3 to {MOST_CORNERS} corners; this one has {len(corners)}.")
        says = "Corners are x,y with _ between them, from 0 to 1."
        pairs = (numbers_of(each, 2, -1.0, 2.0, says) for each in corners)
        found: tuple[Corner, ...] = tuple((x, y) for x, y in pairs)
        return found


class AreaForm(forms.Form):
    """What is selected on a map."""

    lasso = LassoField()
    box = NumbersField(says="A box is left,top,right,bottom, from 0 to 1.", count=4, low=-1.0, high=2.0)
    cluster = forms.RegexField(r"\A[0-9]-(none|[0-9]{1,7})\Z", required=False)
    bar = forms.RegexField(r"\A(density|maximum|mean)-[0-9]{1,2}\Z", required=False)
    part = forms.IntegerField(min_value=0, max_value=BIGGEST_INDEX, required=False)

    def __init__(self, data: Any, found: FeatureMap) -> None:
        super().__init__(data)
        self._map = found

    def clean_cluster(self) -> tuple[int, int] | None:
        text = self.cleaned_data["cluster"]
        if not text:
            return None
        grain, number = text.split("-")
        if int(grain) >= len(self._map.clusters):
            raise forms.ValidationError(f"This map has {len(self._map.clusters)} grains of clusters.")
        return int(grain), -1 if number == "none" else int(number)

    def clean_bar(self) -> tuple[str, float | None, float | None] | None:
        text = self.cleaned_data["bar"]
        if not text:
            return None
        name, place = text.split("-")
        bars = self._map.legends.get(name, [])
        if int(place) >= len(bars):
            raise forms.ValidationError(f"There is no bar {place} of {name} here.")
        bar = bars[int(place)]
        return name, bar["low"], bar["high"]

    @property
    def area(self) -> Area:
        """What of it can be understood."""
        self.is_valid()
        given = self.cleaned_data.get
        return Area(given("lasso") or (), given("box"), given("cluster"), given("bar"), given("part"))


class MapForm(AreaForm):
    """Where one looks, at what, in which colours."""

    at = NumbersField(says="A view is x,y,doublings: 0.5,0.5,0 is the whole.", count=3, low=-1.0, high=FURTHEST)
    colour = forms.ChoiceField(choices=[*COLOURS.items()], required=False)
    q = forms.CharField(
        max_length=200, required=False, label="Find on the map",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "words of a label, a token or an index",
                                      "dir": "auto", "autocomplete": "off"}),
    )  # fmt: skip
    feature = forms.RegexField(r"\A[0-9]{1,3}-[0-9]{1,10}\Z", required=False)
    beside = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)

    def beside_map(self, there: Sequence[FeatureMap]) -> FeatureMap | None:
        """Another map of the same features to look at beside this one."""
        self.is_valid()
        wanted = self.cleaned_data.get("beside")
        return next((each for each in there if each.pk == wanted and each.pk != self._map.pk), None)

    @property
    def wrong(self) -> list[str]:
        """What of the address is left out, and why."""
        return [f"{name}: {errors[0]} It was left out." for name, errors in self.errors.items()]

    @property
    def feature_asked(self) -> tuple[int, int] | None:
        """The number of a part, and an index."""
        self.is_valid()
        text = self.cleaned_data.get("feature")
        if not text:
            return None
        part, index = re.split("-", text)
        return int(part), int(index)


class WhichMapForm(forms.Form):
    map = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class FindForm(forms.Form):
    q = forms.CharField(max_length=200, required=False)


class MakeMapForm(forms.Form):
    method = forms.ChoiceField(
        choices=[("umap", "UMAP"), ("tsne", "t-SNE")], initial="umap", widget=forms.RadioSelect,
        help_text="UMAP tells how clusters lie to each other a little better, t-SNE fills the plane more evenly.",
    )  # fmt: skip
    neighbours = forms.IntegerField(
        min_value=2, max_value=200, initial=15,
        help_text="Of each feature, by the cosine of decoder directions. Fewer show finer structure.",
    )  # fmt: skip
    min_dist = forms.FloatField(
        min_value=0, max_value=0.99, initial=0.05, label="Least distance",
        help_text="UMAP’s min_dist: how tightly points may be packed.",
    )  # fmt: skip
    perplexity = forms.FloatField(
        min_value=2, max_value=200, initial=30, help_text="t-SNE’s: about how many neighbours count."
    )
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, initial=0)
    together = forms.ModelMultipleChoiceField(
        Sae.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, label="Together with",
        help_text="Other SAEs of the same hookpoint, whose features are laid out among these.",
    )  # fmt: skip

    def __init__(self, data: Any, others: QuerySet[Sae]) -> None:
        super().__init__(data)
        field: Any = self.fields["together"]
        field.queryset = others

    def arguments(self, sae: Sae) -> dict[str, Any]:
        """For the job that makes it."""
        given = self.cleaned_data
        saes = sorted([sae, *given["together"]], key=lambda each: (each.n_latents, each.pk))
        names = ("method", "neighbours", "min_dist", "perplexity", "seed")
        return {"saes": [each.pk for each in saes], **{name: given[name] for name in names}}


class KeepSelectedForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}))
