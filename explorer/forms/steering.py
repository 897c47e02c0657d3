"""What somebody asks an lm to write, and with which features changed, as forms."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings

from explorer.forms.limits import BIGGEST_INDEX
from explorer.models import Sae
from explorer.plain import plain
from explorer.queries import steerings as queries
from explorer.steering import USUAL, Asked, Change, Method, Sampling, Text, Unit, Where, Wrong

METHODS = [
    (Method.ADD, "add"), (Method.CLAMP, "clamp to"), (Method.SCALE, "multiply by"), (Method.ABLATE, "ablate"),
    (Method.KEEP, "ablate all others"), (Method.PROJECT, "project out"),
]  # fmt: skip
UNITS = [(Unit.P99, "× 99th percentile"), (Unit.MAXIMUM, "× maximum"), (Unit.RAW, "raw")]
WHERE = [
    (Where.EVERYWHERE, "everywhere"), (Where.PROMPT, "in the prompt"), (Where.GENERATED, "in what is written"),
]  # fmt: skip
CONTROL = 1  # the seed of the random direction
SETS: dict[
    str, tuple[str, list[tuple[float, int, int | None]]]
] = {  # times the strength, seeds beyond the first, control
    "pair": ("as it is, and steered", [(0, 0, None), (1, 0, None)]),
    "sweep": (
        "a sweep: 0, ½, 1, 2 and −1 times as strong, and a random direction",
        [(0, 0, None), (0.5, 0, None), (1, 0, None), (2, 0, None), (-1, 0, None), (1, 0, CONTROL)],
    ),
    "seeds": ("both, by three seeds", [(times, seed, None) for seed in range(3) for times in (0, 1)]),
}
BIGGEST_SEED = 2**31


class ChangeForm(forms.Form):
    """Of one feature."""

    sae = forms.ChoiceField(label="SAE", choices=[])
    index = forms.IntegerField(
        min_value=0, max_value=BIGGEST_INDEX, label="Feature",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )  # fmt: skip
    method = forms.ChoiceField(label="How", choices=[(str(name), title) for name, title in METHODS], initial=Method.ADD)
    strength = forms.FloatField(label="Strength", initial=1, widget=forms.NumberInput(attrs={"step": "any"}))
    unit = forms.ChoiceField(label="In units of", choices=[(str(name), title) for name, title in UNITS])
    where = forms.ChoiceField(label="Where", choices=[(str(name), title) for name, title in WHERE])

    def __init__(self, *args: Any, saes: Sequence[Sae], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["sae"]
        field.choices = [(sae.slug, sae.name) for sae in saes]

    def has_changed(self) -> bool:
        """A row without a feature is one that nobody has filled in."""
        return bool(self.data.get(self.add_prefix("index"), "").strip()) if self.is_bound else super().has_changed()


ChangeForms = forms.formset_factory(ChangeForm, extra=1, max_num=16, absolute_max=16, validate_max=True)


class PromptForm(forms.Form):
    """The least that is asked for, on a feature's page."""

    prompt = forms.CharField(
        strip=False, label="Prompt",
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto", "placeholder": "The beginning of a text"}),
    )  # fmt: skip
    texts = forms.ChoiceField(
        label="Write", choices=[(name, title) for name, (title, _) in SETS.items()], initial="pair",
        widget=forms.RadioSelect,
    )  # fmt: skip

    def clean_prompt(self) -> str:
        return _as_typed(str(self.cleaned_data["prompt"]))


class SteerForm(PromptForm):
    instruction = forms.CharField(
        strip=False, required=False, label="Or just prompt it",
        help_text="Stands before the prompt in one more text, in which nothing is changed: what asking alone would do.",
        widget=forms.Textarea(attrs={"rows": 1, "dir": "auto", "placeholder": "For instance: Write about Python."}),
    )  # fmt: skip
    chat = forms.BooleanField(required=False, label="As a turn of a chat, by the tokenizer’s template")
    new_tokens = forms.IntegerField(min_value=1, label="New tokens", initial=40)
    temperature = forms.FloatField(
        min_value=0, max_value=10, initial=0.7, help_text="0 takes the likeliest token.",
        widget=forms.NumberInput(attrs={"step": "any"}),
    )  # fmt: skip
    top_p = forms.FloatField(
        min_value=0.01, max_value=1, initial=1, label="Top p", widget=forms.NumberInput(attrs={"step": "any"})
    )
    top_k = forms.IntegerField(min_value=0, max_value=BIGGEST_INDEX, initial=0, label="Top k", help_text="0 for all.")
    repetition_penalty = forms.FloatField(
        min_value=0.1, max_value=10, initial=1, label="Repetition penalty",
        widget=forms.NumberInput(attrs={"step": "any"}),
    )  # fmt: skip
    seed = forms.IntegerField(min_value=0, max_value=BIGGEST_SEED, initial=0)

    def clean_instruction(self) -> str:
        return _as_typed(str(self.cleaned_data["instruction"]))


class FindForm(forms.Form):
    """Features to steer with."""

    q = forms.CharField(max_length=200, required=False)
    list = forms.IntegerField(min_value=1, max_value=BIGGEST_INDEX, required=False)


class TitleForm(forms.Form):
    title = forms.CharField(max_length=200, required=False, label="Title")

    def clean_title(self) -> str:
        return plain(str(self.cleaned_data["title"]))


class Playground:
    """Both forms of the page together."""

    def __init__(self, saes: Sequence[Sae], data: Any = None, before: Asked | None = None) -> None:
        self._saes = {sae.slug: sae for sae in saes}
        initial = _as_form(before) if before else None
        changes = [vars(each) for each in before.changes] if before else None
        self.form = SteerForm(data, initial=initial)
        self.changes = ChangeForms(data, initial=changes, prefix="changes", form_kwargs={"saes": saes})

    def asked(self) -> Asked | None:
        """None where something is wrong, which the forms say."""
        if not (self.form.is_valid() & self.changes.is_valid()):
            return None
        rows = [each.cleaned_data for each in self.changes if each.has_changed()]
        if not rows:
            self.form.add_error(None, "Name a feature to change.")
            return None
        wanted = [
            queries.Wanted(
                self._saes[row["sae"]], row["index"], Method(row["method"]), row["strength"], Unit(row["unit"]),
                Where(row["where"]),
            )
            for row in rows
        ]  # fmt: skip
        given = self.form.cleaned_data
        try:
            changes = queries.changes(wanted)
        except Wrong as wrong:
            self.blame(wrong)
            return None
        return asked(
            wanted[0].sae, given["prompt"], changes, given["texts"], seed=given["seed"], chat=given["chat"],
            new_tokens=given["new_tokens"], instruction=given["instruction"],
            sampling=Sampling(given["temperature"], given["top_p"], given["top_k"], given["repetition_penalty"]),
        )  # fmt: skip

    def blame(self, wrong: Wrong) -> None:
        """Says it at the field."""
        if wrong.where[0] == "changes":
            filled = [each for each in self.changes if each.has_changed()]
            filled[int(wrong.where[1])].add_error(str(wrong.where[2]), wrong.message)
        else:
            self.form.add_error(str(wrong.where[0]), wrong.message)


def asked(
    sae: Sae, prompt: str, changes: Sequence[Change], texts: str, *, seed: int = 0, chat: bool = False,
    new_tokens: int | None = None, sampling: Sampling = USUAL, instruction: str = "",
) -> Asked:  # fmt: skip
    _, wanted = SETS[texts]
    prompted = [Text(0, seed, prompted=True)] if instruction.strip() else []
    return Asked(
        lm=sae.lm.fingerprint,
        prompt=prompt,
        chat=chat,
        changes=tuple(changes),
        texts=(*(Text(times, seed + more, control) for times, more, control in wanted), *prompted),
        sampling=sampling,
        new_tokens=new_tokens or min(40, settings.STEER_TOKENS),
        instruction=instruction if prompted else "",
    )


def _as_form(before: Asked) -> dict[str, Any]:
    first = min((text.seed for text in before.texts), default=0)
    shape = [(text.times, text.seed - first, text.control) for text in before.texts if not text.prompted]
    named = next((name for name, (_, wanted) in SETS.items() if wanted == shape), "pair")
    about = {"prompt": before.prompt, "chat": before.chat, "new_tokens": before.new_tokens, "texts": named}
    about["instruction"] = before.instruction
    return about | vars(before.sampling) | {"seed": first}


def _as_typed(text: str) -> str:
    """A browser sends the line ends of a form."""
    return plain(text.replace("\r\n", "\n"))
