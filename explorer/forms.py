"""All input from people, the query strings of GET requests too."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from django import forms
from django.conf import settings
from django.contrib.auth.forms import BaseUserCreationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile

from explorer import roots
from explorer.actions.audit import Action
from explorer.artifacts import plain_name
from explorer.models import Corpus
from explorer.models.access import Role, Scope
from explorer.models.jobs import JobState

MOST_JOBS = 100  # that one stream carries
BIGGEST_ID = 2**63 - 1
ROLES = [(role.value, role.label) for role in Role if role != Role.VISITOR]
SAMPLE_COLUMNS = ("index", "label", "density", "maximum", "token")
LASTING = {7: "a week", 30: "30 days", 90: "90 days", 365: "a year"}


class JobFilter(forms.Form):
    state = forms.ChoiceField(choices=[("", "all"), *JobState.choices], required=False)
    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


class StreamForm(forms.Form):
    """`?job=1&job=2`, and where a stream that was cut off goes on: `job:attempt:length,…`."""

    job = forms.TypedMultipleChoiceField(coerce=int)
    last_event_id = forms.RegexField(r"\A(\d{1,18}:\d{1,9}:\d{1,18}(,|\Z))*\Z", required=False, strip=True)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        ids = [value for value in data.getlist("job") if value.isascii() and value.isdecimal() and len(value) < 19]
        self.fields["job"].choices = [(value, value) for value in ids[:MOST_JOBS]]  # type: ignore[attr-defined]

    def clean_last_event_id(self) -> dict[int, tuple[int, int]]:
        places = {}
        for part in filter(None, self.cleaned_data["last_event_id"].split(",")):
            job, attempt, length = map(int, part.split(":"))
            places[job] = (attempt, length)
        return places


# People


class PasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """A first password, or a new one for whoever has none."""


class ChangePasswordForm(PasswordChangeForm):
    pass


def password_form(user: User, data: Any = None) -> PasswordForm | ChangePasswordForm:
    kind = ChangePasswordForm if user.has_usable_password() else PasswordForm
    return kind(user, data)


class RegistrationForm(BaseUserCreationForm):  # type: ignore[type-arg]
    pass


class InvitationForm(forms.ModelForm):  # type: ignore[type-arg]
    role = forms.TypedChoiceField(choices=ROLES, coerce=lambda value: Role(int(value)), initial=Role.VIEWER.value)

    class Meta:
        model = User
        fields = ("username",)
        labels = {"username": "Name"}
        help_texts = {"username": "They sign in with it. Letters, digits and @ . + - _"}


class RoleForm(forms.Form):
    role = forms.TypedChoiceField(choices=ROLES, coerce=lambda value: Role(int(value)))


class ActiveForm(forms.Form):
    active = forms.TypedChoiceField(choices=[("yes", "open"), ("no", "closed")], coerce=lambda value: value == "yes")


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What it is for, such as “notebook on the cluster”.")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.READ, label="May")
    lasts = forms.TypedChoiceField(
        choices=list(LASTING.items()), coerce=lambda days: timedelta(days=int(days)), initial=90, label="Works for"
    )

    def clean_scope(self) -> list[Scope]:
        return [Scope.READ, Scope.WRITE] if self.cleaned_data["scope"] == Scope.WRITE else [Scope.READ]


class AuditFilter(forms.Form):
    action = forms.ChoiceField(choices=[("", "everything"), *((action.value, action.value) for action in Action)],
                               required=False)  # fmt: skip
    actor = forms.CharField(max_length=150, required=False)
    below = forms.IntegerField(min_value=1, max_value=BIGGEST_ID, required=False)


# The library


class SeenForm(forms.Form):
    """`?seen=`: what somebody has before them, so that only news is answered."""

    seen = forms.RegexField("[0-9a-f]{16}", required=False)


class FeaturesForm(forms.Form):
    after = forms.IntegerField(min_value=0, max_value=2**31 - 1, required=False)


USUALLY_AROUND = 16
AROUND = [("5", "±5 tokens"), ("16", "±16 tokens"), ("whole", "whole contexts")]


class AroundForm(forms.Form):
    """How much of a context is shown to both sides of the token that an example is of."""

    around = forms.TypedChoiceField(
        choices=AROUND,
        coerce=lambda value: None if value == "whole" else int(value),
        empty_value=USUALLY_AROUND,  # type: ignore[arg-type] # it is what coerce gives
        required=False,
    )


class LabelForm(forms.Form):
    label = forms.CharField(
        max_length=200, required=False,
        widget=forms.TextInput(attrs={"placeholder": "What it fires on, in a few words", "dir": "auto"}),
    )  # fmt: skip

    def clean_label(self) -> str:
        return " ".join(str(self.cleaned_data["label"]).split())


Upload: TypeAlias = "UploadedFile[Any]"


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files at once."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Upload]:
        return [super(FilesField, self).clean(each, initial) for each in data or ()]


SAE_FILES = (".safetensors", ".json")
MOST_FILES = 8  # of one SAE
MADE_UP = re.compile(r"(neurons|random):[\w.:]+", re.ASCII)  # SAEs that are computed, not read


class AddForm(forms.Form):
    """An lm, an SAE and text, each by one of the ways there are."""

    lm = forms.CharField(
        label="Language model", max_length=1000, widget=forms.TextInput(attrs={"list": "lms"}),
        help_text="A folder on the server, or an id of the Hugging Face hub, such as openai-community/gpt2.",
    )  # fmt: skip
    sae = forms.CharField(
        label="SAE", max_length=1000, required=False, widget=forms.TextInput(attrs={"list": "saes"}),
        help_text="A folder on the server, an id of the hub with its folder, or neurons:HOOKPOINT for the lm’s own "
        "neurons.",
    )  # fmt: skip
    upload = FilesField(
        label="Or upload it", required=False,
        widget=FilesInput(attrs={"accept": ",".join(SAE_FILES), "data-upload": ""}),
        help_text=f"Its .safetensors and the .json beside it, together {settings.UPLOAD_LIMIT >> 20} MiB at most.",
    )  # fmt: skip
    hookpoint = forms.CharField(
        max_length=200, required=False,
        help_text="Where in the lm it belongs, such as blocks.3.hook_resid_post. Empty: what its own files say.",
    )  # fmt: skip
    corpus = forms.ModelChoiceField(
        Corpus.objects.order_by("name"), to_field_name="slug", required=False, empty_label="none of these",
        label="Text that is here already",
    )  # fmt: skip
    text = forms.CharField(
        label="Or text on the server", max_length=10_000, required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Files or folders, one a line; or one .npy of token ids; or a folder that sae_core made a corpus of.",
    )  # fmt: skip
    context_length = forms.IntegerField(
        min_value=2, max_value=131_072, required=False,
        help_text="Tokens in a context. Empty: as the SAE was trained.",
    )  # fmt: skip
    contexts = forms.IntegerField(
        label="Contexts at most", min_value=1, max_value=1_000_000_000, required=False, help_text="Empty: all."
    )  # fmt: skip
    name = forms.CharField(
        max_length=200, required=False, help_text="How it is listed. Empty: as its folder is called."
    )  # fmt: skip
    better = forms.BooleanField(
        label="Use a better reading where the fit check finds one", required=False, initial=True,
        help_text="Centred activations, for instance, or the layer beside. It is said on the SAE’s page.",
    )  # fmt: skip

    def clean_lm(self) -> str:
        return _allowed(lambda: roots.folder_or_hub_id(self.cleaned_data["lm"], bare=True))

    def clean_sae(self) -> str:
        sae: str = self.cleaned_data["sae"]
        return sae if not sae or MADE_UP.fullmatch(sae) else _allowed(lambda: roots.folder_or_hub_id(sae))

    def clean_upload(self) -> list[Upload]:
        files: list[Upload] = self.cleaned_data["upload"]
        for file in files:
            file.name = plain_name(str(file.name))
            if not file.name.endswith(SAE_FILES):
                raise forms.ValidationError(f"{file.name}: only {' and '.join(SAE_FILES)} are taken.")
        names = [file.name for file in files]
        if len(set(names)) < len(names):
            raise forms.ValidationError("Two of these files have one name.")
        if len(names) > MOST_FILES:
            raise forms.ValidationError(f"An SAE has {MOST_FILES} files at most.")
        if names and not any(str(name).endswith(".safetensors") for name in names):
            raise forms.ValidationError("A .safetensors file, which holds the weights, is not among them.")
        return files

    def clean_text(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["text"].splitlines() if line.strip()]
        return [_allowed(lambda line=line: roots.path(line)) for line in lines]  # type: ignore[misc]

    def clean(self) -> dict[str, Any]:
        chosen = self.cleaned_data
        _one_of(self, {"sae": "Name a folder or an id,", "upload": "or choose files to upload"})
        _one_of(self, {"corpus": "Choose a corpus,", "text": "or name text on the server"})
        if len(chosen.get("text", ())) > 1 and any(each.endswith(".npy") for each in chosen["text"]):
            self.add_error("text", "A file of token ids stands alone.")
        return chosen

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the job; the SAE's are another's where its files are uploaded (actions.adding)."""
        chosen = self.cleaned_data
        return {
            "lm": chosen["lm"],
            "sae": chosen["sae"],
            **self._text(),
            "name": chosen["name"] or _called(chosen),
            "hookpoint": chosen["hookpoint"],
            "fit": "use" if chosen["better"] else "keep",
            "contexts": chosen["contexts"],
            "context_length": chosen["context_length"],
        }

    def _text(self) -> dict[str, Any]:
        text: list[str] = self.cleaned_data["text"]
        if self.cleaned_data["corpus"]:
            return {"corpus": self.cleaned_data["corpus"].slug}
        if text[0].endswith(".npy"):
            return {"tokens": text[0]}
        if (Path(text[0]) / "corpus.json").is_file() and len(text) == 1:
            return {"corpus": text[0]}
        return {"text": text}


def _allowed(find: Callable[[], str]) -> str:
    try:
        return find()
    except roots.NotAllowed as why:
        raise forms.ValidationError(str(why)) from None


def _one_of(form: AddForm, ways: dict[str, str]) -> None:
    """Exactly one of these fields is filled in."""
    if any(name in form.errors for name in ways):
        return
    given = [name for name in ways if form.cleaned_data.get(name)]
    if len(given) != 1:
        form.add_error(next(iter(ways)), f"{' '.join(ways.values())}{', not both' if given else ''}.")


def _called(chosen: dict[str, Any]) -> str:
    for file in chosen["upload"]:
        if file.name.endswith(".safetensors"):
            return str(file.name).removesuffix(".safetensors")
    return str(chosen["sae"]).rstrip("/").rsplit("/", 1)[-1]


# /patterns/


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
