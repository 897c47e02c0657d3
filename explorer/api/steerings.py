from datetime import datetime
from typing import Annotated, Any

from django.urls import reverse
from ninja import P, PathEx, Router, Schema
from ninja.responses import Status
from pydantic import ConfigDict, Field

from explorer import steering
from explorer.access import READERS
from explorer.actions import steerings as actions
from explorer.api.auth import CallerRequest, needs
from explorer.gates import sae_to_see, steering_to_see
from explorer.models import Steering
from explorer.models.access import Role, Scope
from explorer.models.jobs import JobState
from explorer.plain import plain
from explorer.queries import steerings as queries
from explorer.steering import Asked, Method, Unit, Where

router = Router(tags=["steerings"])

Key = PathEx[str, P(pattern=r"^[A-Za-z0-9_-]{1,16}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Strict(Schema):
    model_config = ConfigDict(extra="forbid")


class ChangeIn(Strict):
    """Of one feature."""

    sae: Annotated[str, Field(max_length=80, pattern="^[A-Za-z0-9_-]+$")]
    index: Annotated[int, Field(ge=0, lt=2**31)]
    method: Annotated[Method, Field(description="keep: all others of its SAE are ablated; project: out of what passes")]
    strength: Annotated[float, Field(description="Added or clamped to, in units; the factor, for scale")] = 1.0
    unit: Annotated[Unit, Field(description="Of the feature’s firing activations, or raw")] = Unit.P99
    where: Where = Where.EVERYWHERE


class SteeredText(Strict):
    """One of those that are written."""

    times: Annotated[float, Field(ge=-10, le=10, description="So many times the strength; 0 changes nothing")] = 1.0
    seed: Seed = 0
    control: Annotated[
        Seed | None, Field(description="The seed of a random direction, along which as much is changed")
    ] = None
    prompted: Annotated[bool, Field(description="Nothing is changed; the instruction stands before the prompt")] = False


class SamplingIn(Strict):
    temperature: Annotated[float, Field(ge=0, le=10, description="0: the likeliest token")] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1, description="0: all tokens")] = 0
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0


class SteeringIn(Strict):
    """Every feature is of the same language model."""

    prompt: Annotated[str, Field(max_length=1_000_000)]
    chat: Annotated[bool, Field(description="By the template of the tokenizer")] = False
    changes: Annotated[list[ChangeIn], Field(min_length=1, max_length=16)]
    texts: Annotated[list[SteeredText], Field(description="All in one pass")] = [SteeredText(times=0), SteeredText()]
    sampling: SamplingIn = SamplingIn()
    new_tokens: int = 48
    instruction: Annotated[str, Field(max_length=1_000_000, description="For texts that are just prompted")] = ""


class SteeringOut(Schema):
    """What was asked, how it stands, and once that is done what was written."""

    key: str
    title: Annotated[str, Field(description="“”, but of those that are shown to everybody")]
    address: str
    state: JobState | None
    error: str
    created_at: datetime
    asked: dict[str, Any]
    result: dict[str, Any] | None
    events: Annotated[str | None, Field(description="Server-sent events while it is written, for who has signed in")]

    @staticmethod
    def resolve_address(row: Steering) -> str:
        return reverse("api:get_steering", args=[row.key])

    @staticmethod
    def resolve_state(row: Steering) -> str | None:
        return row.job.state if row.job else None

    @staticmethod
    def resolve_error(row: Steering) -> str:
        return row.job.error if row.job else ""

    @staticmethod
    def resolve_events(row: Steering) -> str | None:
        return f"{reverse('events')}?job={row.job.pk}" if row.job and row.job.unfinished else None


@router.post("", response={202: SteeringOut}, summary="Steer", **needs(Role.VIEWER, Scope.WRITE))
def steer(request: CallerRequest, asked: SteeringIn) -> Any:
    """Starts a job that writes all the texts. It goes on when nobody looks."""
    person = request.auth.signed_in
    made = actions.start(_asked(asked), by=person, who=f"person {person.pk}", watched=False)
    return Status(202, made)


@router.get("/{token:key}", response=SteeringOut, summary="A steering", **needs(READERS, Scope.READ))
def get_steering(request: CallerRequest, key: Key) -> Any:
    """By its key, for everybody who may read here; it never changes once it is done."""
    return steering_to_see(key)


def _asked(given: SteeringIn) -> Asked:
    saes = {each.sae: sae_to_see(each.sae) for each in given.changes}
    wanted = [
        queries.Wanted(saes[each.sae], each.index, each.method, each.strength, each.unit, each.where)
        for each in given.changes
    ]
    texts = [steering.Text(each.times, each.seed, each.control, each.prompted) for each in given.texts]
    return Asked(
        lm=wanted[0].sae.lm.fingerprint,
        prompt=plain(given.prompt),
        chat=given.chat,
        changes=queries.changes(wanted),
        texts=tuple(sorted(texts, key=lambda each: each.prompted)),
        sampling=steering.Sampling(**given.sampling.dict()),
        new_tokens=given.new_tokens,
        instruction=plain(given.instruction),
    )
