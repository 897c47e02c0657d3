from datetime import datetime
from typing import Annotated, Any

from ninja import Router, Schema
from pydantic import Field

from explorer.access import READERS, role_of
from explorer.api.auth import CallerRequest, needs
from explorer.models.access import Scope

router = Router(tags=["you"])


class Me(Schema):
    name: Annotated[str, Field(description="Empty for a visitor who has not signed in.")]
    role: str
    scopes: list[Scope]
    token_expires: datetime | None


@router.get("/me", response=Me, summary="Who you are, and what you may do", **needs(READERS, Scope.READ))
def me(request: CallerRequest) -> Any:
    caller = request.auth
    return {
        "name": caller.user.get_username(),
        "role": role_of(caller.user).label,
        "scopes": caller.scopes,
        "token_expires": caller.token.expires_at if caller.token else None,
    }
