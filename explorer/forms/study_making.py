"""Making a study: whose features, how many controls, scored how."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict

from explorer import subjects
from explorer.actions.studies import MOST_PER_ITEM, MOST_SEATS, MOST_SUBJECTS
from explorer.forms.addresses import Understood, filtering, understood
from explorer.forms.limits import BIGGEST_ID
from explorer.forms.studies import ChangeForm
from explorer.models import FeatureList, Rubric, Sae
from explorer.queries import rubrics, sampling, studies
from explorer.queries.filtering import lists_to_see
from explorer.queries.sampling import NothingToDraw
from explorer.studies.sampling import How, Sample

INTERVALS = [(each, f"{20 * each}–{20 * each + 20} %") for each in reversed(range(5))]
LONGEST_ADDRESS = 2_000  # characters
HOW = [
    (How.UNIFORM, "uniformly, from all that fire"),
    (How.DENSITY, "stratified by density: from each half power of ten as many"),
    (How.LIST, "from a list"),
    (How.FILTER, "by a filter of the browser"),
]
EVIDENCE = [
    ("yes", "staged: a hypothesis from half of the texts, then the other half to hold it against, then what it raises"),
    ("no", "as published: all at once, so that what makes a hypothesis confirms it as well"),
]


class SaeField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's takes no argument when it runs, and stubs want one
    def __init__(self, **options: Any) -> None:
        super().__init__(Sae.objects.none(), to_field_name="slug", **options)

    def label_from_instance(self, sae: Any) -> str:
        return f"{sae.name} ({sae.lm.name}, {sae.hookpoint})"


class ControlField(forms.IntegerField):
    """How many of a kind."""

    def __init__(self, label: str, initial: int, help_text: str = "") -> None:
        super().__init__(min_value=0, max_value=MOST_SUBJECTS, initial=initial, label=label, help_text=help_text)


class FromForm(forms.Form):
    """Whence somebody comes: an SAE's browser, or a rubric."""

    sae = SaeField(required=False)
    rubric = forms.ModelChoiceField(Rubric.objects.none(), required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self._filter = filtering(data)
        _choose_from(self, sae=studies.collected(), rubric=rubrics.choices())

    @property
    def initial_study(self) -> dict[str, Any]:
        self.is_valid()
        sae, rubric = self.cleaned_data.get("sae"), self.cleaned_data.get("rubric") or rubrics.usual()
        found = {"sae": sae and sae.slug, "rubric": rubric, "guidelines": rubric.guidelines if rubric else ""}
        return found | ({"how": How.FILTER, "filter": self._filter} if self._filter else {})


class MakeStudyForm(ChangeForm):
    sae = SaeField(label="SAE", empty_label="choose one")
    rubric = forms.ModelChoiceField(Rubric.objects.none(), empty_label=None)
    how = forms.ChoiceField(choices=HOW, initial=How.UNIFORM, widget=forms.RadioSelect, label="Chosen how")
    n = forms.IntegerField(
        min_value=1, max_value=MOST_SUBJECTS, initial=40, label="How many at most",
        help_text="What never fires is left out.",
    )  # fmt: skip
    list = forms.ModelChoiceField(
        FeatureList.objects.none(), required=False, empty_label="choose one",
        help_text="Where it holds more of this SAE that fire, they are drawn uniformly.",
    )  # fmt: skip
    filter = forms.CharField(
        max_length=LONGEST_ADDRESS, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="An address of the browser, or what stands behind its question mark.",
    )  # fmt: skip
    in_order = forms.BooleanField(
        required=False, label="The first in its order, instead of drawn uniformly from all that it finds"
    )
    intervals = forms.TypedMultipleChoiceField(
        choices=INTERVALS, coerce=int, initial=[4, 2, 0], widget=forms.CheckboxSelectMultiple,
        label="Intervals of the maximum", help_text="Each makes an item of every feature and every control.",
    )  # fmt: skip
    neuron = ControlField("Neurons", 20)
    direction = ControlField("Random directions", 10)
    shuffled = ControlField("Shuffled evidence", 4, "Who finds a meaning there pays no attention.")
    untrained = ControlField("Latents of an SAE on an untrained lm", 0)
    untrained_sae = SaeField(
        required=False, empty_label="none", label="That SAE",
        help_text="Of another lm, which was initialised anew, read over the same text.",
    )  # fmt: skip
    per_item = forms.IntegerField(min_value=1, max_value=MOST_PER_ITEM, initial=3, label="Annotators for each item")
    staged = forms.TypedChoiceField(
        choices=EVIDENCE, coerce=lambda value: value == "yes", initial="yes", widget=forms.RadioSelect, label="Evidence"
    )
    practice = forms.BooleanField(
        required=False, initial=True, label="It begins with practice, whose answers everybody is told"
    )
    seed = forms.IntegerField(min_value=0, max_value=BIGGEST_ID, initial=0, help_text="The same draws the same.")

    def __init__(self, data: Any, user: User, initial: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial=dict(initial or {}))
        self._user = user
        self._understood: Understood | None = None
        written: Any = self.fields["guidelines"]
        written.help_text = (
            "Markdown. They stand beside every item. Empty, or those of another rubric: they become the chosen one’s."
        )
        _choose_from(
            self, sae=studies.collected(), rubric=rubrics.choices(), list=lists_to_see(user),
            untrained_sae=studies.beside_another_lm(),
        )  # fmt: skip
        self._name_neurons()

    def _name_neurons(self) -> None:
        """As they are called at the SAE's hookpoint; once it is chosen."""
        try:
            sae = self.fields["sae"].clean(self["sae"].value())
        except ValidationError:
            self.fields["neuron"].help_text = "In the residual stream, basis dimensions."
        else:
            if not subjects.has_neurons(sae.hookpoint):
                self.fields["neuron"].label = "Basis dimensions"

    def clean(self) -> dict[str, Any]:
        self._check_choice()
        self._check_untrained()
        if not self.errors:
            self._check_room(self._n_drawn())
        return self.cleaned_data

    def _check_choice(self) -> None:
        given = self.cleaned_data.get
        if given("how") == How.LIST and "list" not in self.errors and not given("list"):
            self.add_error("list", "Which one?")
        if given("how") == How.FILTER and "filter" not in self.errors and given("sae"):
            try:
                self._understood = understood(given("filter", ""), self.cleaned_data["sae"], self._user)
            except ValidationError as why:
                self.add_error("filter", why)

    def _check_untrained(self) -> None:
        sae, other = self.cleaned_data.get("sae"), self.cleaned_data.get("untrained_sae")
        if not sae or not self.cleaned_data.get("untrained") or "untrained_sae" in self.errors:
            return
        if other is None:
            self.add_error("untrained_sae", "Which one?")
        elif not studies.fit_beside(sae, other):
            self.add_error("untrained_sae", f"It is of the same lm, or was not read over the text of {sae.name}.")

    def _n_drawn(self) -> int:
        try:
            return len(sampling.draw(self.cleaned_data["sae"], self.sample, self.cleaned_data["seed"]))
        except NothingToDraw as why:
            self.add_error({How.LIST: "list", How.FILTER: "filter"}.get(self.sample.how, "how"), str(why))
            return 0

    def _check_room(self, n: int) -> None:
        """A control is paired with a feature that no other of its kind is paired with."""
        if not n:
            return
        for kind, wanted in self.controls.items():
            if wanted > n:
                self.add_error(kind, f"Each goes with a feature of its own, and there are {n:,} of these.")
        n_subjects = n + sum(self.controls.values())
        seats = n_subjects * len(self.cleaned_data["intervals"]) * self.cleaned_data["per_item"]
        if n_subjects > MOST_SUBJECTS:
            self.add_error("n", f"With the controls that makes {n_subjects:,}, and {MOST_SUBJECTS:,} are the most.")
        if seats > MOST_SEATS:
            self.add_error("per_item", f"That makes {seats:,} scores to give, and {MOST_SEATS:,} are the most.")

    @property
    def controls(self) -> dict[str, int]:
        return {kind.value: self.cleaned_data[kind.value] for kind in subjects.CONTROLS if kind in self.cleaned_data}

    @property
    def sample(self) -> Sample:
        given, found = self.cleaned_data, self._understood
        how = How(given["how"])
        if how is How.FILTER and found:
            filters = sampling.as_row(found.filters)
            return Sample(how, given["n"], filter=found.query, filters=filters, in_order=given["in_order"])
        return Sample(how, given["n"], list=given["list"].pk if how is How.LIST else None)

    @property
    def asked(self) -> dict[str, Any]:
        """What actions.studies.make is asked for."""
        given = self.cleaned_data
        names = ("sae", "rubric", "name", "intervals", "per_item", "staged", "practice", "seed")
        return {name: given[name] for name in names} | {
            "sample": self.sample.row(),
            "controls": self.controls,
            "guidelines": self._guidelines(),
            "untrained": given["untrained_sae"] if given["untrained"] else None,
        }

    def _guidelines(self) -> str:
        text, chosen = self.cleaned_data["guidelines"], self.cleaned_data["rubric"]
        usual = {_words(each.guidelines) for each in rubrics.choices()}
        found: str = chosen.guidelines if _words(text) in usual | {""} else text
        return found


def _choose_from(form: forms.Form, **querysets: Any) -> None:
    for name, queryset in querysets.items():
        field: Any = form.fields[name]
        field.queryset = queryset


def _words(text: str) -> str:
    """However its lines were sent."""
    return " ".join(text.split())
