"""A rubric as somebody writes it down: its criteria are rows of a form, of which those without anything are none."""

from typing import Any

from django import forms
from django.utils.text import slugify

from explorer.actions.studies import LONGEST_GUIDELINES, LONGEST_NAME
from explorer.models import Rubric
from explorer.studies import rubrics
from explorer.studies.rubrics import (
    LONGEST_KEY,
    LONGEST_TEXT,
    LONGEST_TITLE,
    MOST_CRITERIA,
    MOST_POINTS,
    Criterion,
    Scale,
    Stage,
    WrongRubric,
    criteria_of,
)

STAGES = [(Stage.EXAMPLES, "the texts"), (Stage.LOGITS, "the tokens that it raises")]
SCALES = [(Scale.ORDINAL, "an order: 2 is nearer to 3 than 0 is"), (Scale.NOMINAL, "kinds without an order")]
HIGHEST_LINE = MOST_CRITERIA * MOST_POINTS


class CriterionForm(forms.Form):
    title = forms.CharField(max_length=LONGEST_TITLE, required=False, widget=forms.TextInput(attrs={"dir": "auto"}))
    key = forms.RegexField(
        r"\A[a-z][a-z0-9_]*\Z", max_length=LONGEST_KEY, required=False,
        error_messages={"invalid": "Small letters, digits and _ make one, a letter first."},
        help_text="By which exports name it. Empty: made of the title.",
    )  # fmt: skip
    asks = forms.CharField(
        max_length=LONGEST_TEXT, required=False, label="Question", widget=forms.TextInput(attrs={"dir": "auto"})
    )
    anchors = forms.CharField(
        max_length=(LONGEST_TEXT + 2) * (MOST_POINTS + 1), required=False, label="What points stand for",
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}),
        help_text="One a line, that of 0 points first. An empty line is a point that nothing is said of.",
    )  # fmt: skip
    stage = forms.ChoiceField(choices=STAGES, required=False, label="Judged from")
    scale = forms.ChoiceField(choices=SCALES, required=False, label="Points are")
    of_interval = forms.BooleanField(required=False, label="May differ from one interval to another")
    unless = forms.TypedChoiceField(
        coerce=int, empty_value=None, required=False, label="Does not apply where full marks has"
    )

    def __init__(self, data: Any, number: int, found: Criterion | None, earlier: list[str]) -> None:
        super().__init__(data, prefix=f"criterion-{number}", initial=_initial(found, earlier) if found else None)
        self.number = number
        unless: Any = self.fields["unless"]
        unless.choices = [("", "none: it always applies"), *((n, f"criterion {n}") for n in range(1, number))]

    @property
    def filled(self) -> bool:
        """Whether there is anything in it that somebody has written."""
        return any(str(self[name].value() or "").strip() for name in ("title", "key", "asks", "anchors"))

    def clean_key(self) -> str:
        title: str = self.cleaned_data.get("title", "")
        made = slugify(title).replace("-", "_").strip("_")
        key: str = self.cleaned_data["key"] or (made if made[:1].isalpha() or not made else f"c_{made}")
        if title and not key:
            raise forms.ValidationError("None can be made of this title. Give one.")
        return key[:LONGEST_KEY]

    def clean_anchors(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["anchors"].splitlines()]
        if lines and not 2 <= len(lines) <= MOST_POINTS + 1:
            raise forms.ValidationError(f"These are {len(lines)} lines, expected 2 to {MOST_POINTS + 1}.")
        if any(len(line) > LONGEST_TEXT for line in lines):
            raise forms.ValidationError(f"One is longer than {LONGEST_TEXT} characters.")
        return lines

    def clean(self) -> dict[str, Any]:
        if self.filled:
            for name in ("title", "asks", "anchors"):
                if name not in self.errors and not self.cleaned_data.get(name):
                    self.add_error(name, "A criterion needs this.")
        return self.cleaned_data

    @property
    def row(self) -> dict[str, Any]:
        """All but what it hangs on."""
        given = self.cleaned_data
        return {name: given[name] for name in ("key", "title", "asks", "anchors", "of_interval")} | {
            "stage": given["stage"] or Stage.EXAMPLES,
            "scale": given["scale"] or Scale.ORDINAL,
        }


class RubricForm(forms.Form):
    """Another one begins with the criteria of one that there is."""

    line = forms.IntegerField(
        min_value=0, max_value=HIGHEST_LINE, initial=8,
        help_text="What has more points in all counts as interpretable.",
    )  # fmt: skip
    guidelines = forms.CharField(
        max_length=LONGEST_GUIDELINES, required=False, widget=forms.Textarea(attrs={"rows": 12, "dir": "auto"}),
        help_text="Markdown. A study begins with them.",
    )  # fmt: skip

    def __init__(self, data: Any, found: Rubric | None = None) -> None:
        now = {"line": found.line, "guidelines": found.guidelines} if found else None
        super().__init__(data, initial=now)
        criteria = criteria_of(found.criteria) if found else ()
        keys = [each.key for each in criteria]
        self.rows = [
            CriterionForm(data, number, each, keys)
            for number, each in enumerate([*criteria, *[None] * (MOST_CRITERIA - len(criteria))], 1)
        ]
        self.criteria: list[dict[str, Any]] = []

    def clean(self) -> dict[str, Any]:
        filled = [each for each in self.rows if each.filled]
        valid = [each.is_valid() for each in filled]
        if not filled:
            self.add_error(None, "A rubric has one criterion at least.")
        elif all(valid) and self._hinged(filled) and "line" not in self.errors:
            self._check()
        if any(each.errors for each in filled):
            self.add_error(None, "Something is not right yet; it is marked below.")
        return self.cleaned_data

    def _hinged(self, filled: list[CriterionForm]) -> bool:
        """Each with the key of what it hangs on, and no key twice."""
        keys: dict[int, str] = {}
        for each in filled:
            row, hinge = each.row, each.cleaned_data["unless"]
            if row["key"] in keys.values():
                each.add_error("key", f"Another has the key {row['key']}.")
            elif hinge is not None and hinge not in keys:
                each.add_error("unless", f"Criterion {hinge} is empty.")
            keys[each.number] = row["key"]
            self.criteria.append(row | {"unless": keys.get(hinge, "")})
        return not any(each.errors for each in filled)

    def _check(self) -> None:
        try:
            rubrics.checked(self.criteria, self.cleaned_data["line"])
        except WrongRubric as why:
            self.add_error(None, str(why))

    @property
    def given(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("line", "guidelines")} | {"criteria": self.criteria}


class NewRubricForm(RubricForm):
    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput(attrs={"dir": "auto"}))
    field_order = ("name", "line", "guidelines")

    @property
    def given(self) -> dict[str, Any]:
        return super().given | {"name": self.cleaned_data["name"]}


def _initial(found: Criterion, keys: list[str]) -> dict[str, Any]:
    row = found.row()
    hinge = keys.index(found.unless) + 1 if found.unless else ""
    return row | {"anchors": "\n".join(found.anchors), "unless": hinge}
