"""All input from people, the query strings of GET requests too."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User

from explorer.actions.audit import Action
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
