"""The API against its own description: schemathesis makes up requests, right and wrong, and follows their links."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from explorer.actions import api_tokens
from explorer.models import Job
from explorer.models.access import Scope
from explorer.models.jobs import JobState
from tests.processes import Web

# Every operation is asked some hundred times.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
    pytest.mark.timeout(400),
]


ALL = ["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"]


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or most of what it asks would be answered with 429."""
    monkeypatch.setenv("EXPLORER_API_RATE", "1000000")


@pytest.fixture
def jobs(transactional_db: None, admin: User) -> list[Job]:
    """Of every state, so that what is described is also met."""
    leases = {JobState.RUNNING: {"lease_until": "2100-01-01T00:00:00Z"}}
    return [
        Job.objects.create(kind="test_count", queue="batch", state=state, created_by=admin, **leases.get(state, {}))
        for state in JobState
    ]


def test_it_is_as_it_describes_itself(
    generous: None, web: Web, admin: User, jobs: list[Job], tmp_path: Path, broker_url: None
) -> None:
    _, token = api_tokens.make(admin, "schemathesis", [Scope.READ, Scope.WRITE], timedelta(days=1))
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{web.address}/api/v1/openapi.json",
        *ALL,
        "--seed",
        "1",
    ]
    command += ["--header", f"Authorization: Bearer {token}", "--max-examples", "40", "--no-color"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO"))}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅ +{phase}", done.stdout), done.stdout
    assert "Internal Server Error" not in web.process.said
