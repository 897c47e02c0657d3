"""Who calls the API: a token's owner, or whoever has signed in to the pages."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from explorer.access import Entry, Person, least_role, role_of
from explorer.actions import api_tokens
from explorer.actions.limits import Limit, take
from explorer.gates import household_of
from explorer.models import ApiToken
from explorer.models.access import Role, Scope


@dataclass(frozen=True)
class Caller:
    user: Person
    token: ApiToken | None = None

    @property
    def signed_in(self) -> User:
        """For operations that let in nobody who has not."""
        assert isinstance(self.user, User)
        return self.user

    @property
    def scopes(self) -> list[str]:
        """A session may do all that its person may."""
        return list(Scope.values) if self.token is None else self.token.scopes


class CallerRequest(HttpRequest):
    auth: Caller


class ByToken(HttpBearer):
    """A token that is sent must be good: there is no falling back to the session beside it."""

    openapi_name = "token"

    def __init__(self, entry: Entry, scope: Scope) -> None:
        super().__init__()
        self._entry, self._scope = entry, scope

    def __call__(self, request: HttpRequest) -> Caller | None:
        sent = request.headers.get("Authorization")
        if sent is None:
            return None
        scheme, _, secret = sent.partition(" ")
        if scheme.lower() != "bearer":
            return None  # a proxy's own, for instance
        return self.authenticate(request, secret.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        found = api_tokens.verify(token)
        if found is None:
            _count(f"address {household_of(request)}")
            raise AuthenticationError
        _count(f"person {found.user_id}")
        if self._scope not in found.scopes or role_of(found.user) < least_role(self._entry):
            raise PermissionDenied
        return Caller(found.user, found)


class BySession(APIKeyCookie):
    openapi_name = "session"
    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry

    def __call__(self, request: HttpRequest) -> Caller | None:
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller:
        user = request.user
        _count(f"person {user.pk}" if user.is_authenticated else f"address {household_of(request)}")
        least = least_role(self._entry)
        if least > Role.VISITOR and not user.is_authenticated:
            raise AuthenticationError
        # The cookie comes along from any site; a form of ours has the token that goes with it.
        if role_of(user) < least or check_csrf(request) is not None:
            raise PermissionDenied
        return Caller(user)


def needs(entry: Entry, scope: Scope) -> dict[str, Any]:
    """What every operation is given: who may call it, and what a token must be for; openapi.json says both."""
    who = entry.label if isinstance(entry, Role) else entry.value
    return {
        "auth": [ByToken(entry, scope), BySession(entry)],
        "openapi_extra": {"x-role": who, "x-scope": scope.value},
    }


def _count(who: str) -> None:
    take(Limit("api", capacity=settings.API_RATE, per_second=settings.API_RATE / 60), who)
