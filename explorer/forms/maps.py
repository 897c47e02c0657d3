"""What a map's page is asked for, all of it in its address; and how a map is to be made."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db.models import QuerySet

from explorer.forms.limits import BIGGEST_ID
from explorer.map_areas import LONGEST, Area, NoArea, area_of, numbers_of
from explorer.models import FeatureMap, Sae

COLOURS = {
    "density": "density",
    "maximum": "maximum",
    "mean": "mean when firing",
    "cluster-0": "coarse clusters",
    "cluster-1": "clusters",
    "cluster-2": "fine clusters",
    "score": "score",
    "labelled": "labelled or not",
    "sae": "SAE",
}
FURTHEST = 24.0  # doublings that one can come near


class AreaForm(forms.Form):
    """What is selected on a map."""

    lasso = forms.CharField(required=False, max_length=LONGEST)
    box = forms.CharField(required=False, max_length=200)
    cluster = forms.CharField(required=False, max_length=200)
    bar = forms.CharField(required=False, max_length=200)
    part = forms.CharField(required=False, max_length=200)

    def __init__(self, data: Any, found: FeatureMap) -> None:
        super().__init__(data)
        self._map, self._area = found, Area()

    def clean(self) -> dict[str, Any]:
        self._area, wrong = area_of(self.cleaned_data, self._map)
        for word, says in wrong.items():
            self.add_error(word, says)
        return self.cleaned_data

    @property
    def area(self) -> Area:
        """What of it can be understood."""
        self.is_valid()
        return self._area


class MapForm(AreaForm):
    """Where one looks, at what, in which colours."""

    at = forms.CharField(required=False, max_length=200)
    colour = forms.ChoiceField(choices=[*COLOURS.items()], required=False)
    q = forms.CharField(required=False, max_length=200)
    feature = forms.RegexField(
        r"\A[0-9]{1,3}-[0-9]{1,10}\Z", required=False,
        error_messages={"invalid": "A feature is the number of an SAE on this map and its index, such as 0-12."},
    )  # fmt: skip
    beside = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)

    def clean_at(self) -> tuple[float, ...] | None:
        text = self.cleaned_data["at"]
        try:
            return (
                numbers_of(text, 3, "A view is x,y,doublings: 0.5,0.5,0 is the whole.", high=FURTHEST) if text else None
            )
        except NoArea as why:
            raise forms.ValidationError(str(why)) from None

    def beside_map(self, there: Sequence[FeatureMap]) -> FeatureMap | None:
        """Another map of the same features to look at beside this one."""
        self.is_valid()
        wanted = self.cleaned_data.get("beside")
        return next((each for each in there if each.pk == wanted and each.pk != self._map.pk), None)

    @property
    def wrong(self) -> list[str]:
        """What of the address is left out, and why."""
        return [f"{name}: {errors[0]} It was left out." for name, errors in self.errors.items()]


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
        min_value=2, max_value=100, initial=30, help_text="t-SNE’s: about how many neighbours count."
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

    def saes(self, sae: Sae) -> list[Sae]:
        """That are to be on it."""
        return [sae, *self.cleaned_data["together"]]

    @property
    def asked(self) -> dict[str, Any]:
        """How it is to be made: sae_core.maps.MapConfig."""
        return {name: self.cleaned_data[name] for name in ("method", "neighbours", "min_dist", "perplexity", "seed")}


class KeepSelectedForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"dir": "auto"}))
