from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm, PasswordChangeForm, SetPasswordForm
from django.contrib.auth.models import User

from explorer.actions.audit import Action
from explorer.forms.limits import BIGGEST_ID
from explorer.models.access import Role, Scope

ROLES = [(role.value, role.label) for role in Role if role != Role.VISITOR]
LASTING = {7: "a week", 30: "30 days", 90: "90 days", 365: "a year"}


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
