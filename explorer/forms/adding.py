"""Adding an SAE."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from explorer import roots
from explorer.artifacts import plain_name
from explorer.models import Corpus

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
