"""A steering as a browser asks for it, and what was asked."""

from typing import Any

from django.test import Client

from explorer.models import Steering
from explorer.steering import Asked
from tests.explored import Explored


def form(explored: Explored, *rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """As a browser sends it, with an empty row at the end."""
    usual = {"sae": explored.sae.slug, "method": "add", "strength": "2", "unit": "p99", "where": "everywhere"}
    sent: dict[str, Any] = {
        "prompt": "Once upon\r\na time", "texts": "pair", "new_tokens": "12", "temperature": "0.7", "top_p": "1",
        "top_k": "0", "repetition_penalty": "1", "seed": "3", "changes-TOTAL_FORMS": str(len(rows) + 1),
        "changes-INITIAL_FORMS": "0",
    }  # fmt: skip
    for number, row in enumerate([*rows, {"index": ""}]):
        sent |= {f"changes-{number}-{name}": value for name, value in (usual | row).items()}
    return sent | changes


def post(client: Client, explored: Explored, *rows: dict[str, Any], **changes: Any) -> Any:
    return client.post("/steer/", form(explored, *rows, **changes))


def asked() -> Asked:
    return Asked.from_json(Steering.objects.get().asked)
