"""What a worker of this installation can do: versions, devices, and how fast a few plain things go."""

import io
import json
import os
import platform
import time
from importlib.metadata import version
from statistics import median
from typing import Any

from django.db import connection

from explorer import artifacts
from explorer.work.attempt import Attempt, Refused
from sae_core.devices import devices, matmul_flops

PACKAGES = ("django", "celery", "psycopg", "torch", "numpy")
ROUND_TRIPS = 50
ARTIFACT_BYTES = 8 << 20


def run(attempt: Attempt) -> dict[str, Any]:
    found: dict[str, Any] = {}
    parts = {"software": _software, "database": _database, "artifacts": _artifacts, "devices": _devices}
    for name, look in attempt.steps(parts.items(), total=len(parts), unit="checks"):
        found[name] = look()
        attempt.emit("\n".join(_lines(found[name])) + "\n\n")
    report = json.dumps(found, indent=2).encode()
    kept = artifacts.put(io.BytesIO(report), name="installation.json", media_type="application/json")
    return found | {"artifact": kept.sha256}


def _software() -> dict[str, Any]:
    system = f"{platform.system()} {platform.machine()}"
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "system": system, "cores": os.cpu_count(), **packages}


def _database() -> dict[str, Any]:
    times = []
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = cursor.fetchone()[0]
        for _ in range(ROUND_TRIPS):
            start = time.perf_counter()
            cursor.execute("SELECT 1")
            times.append(time.perf_counter() - start)
    return {"postgresql": server, "round_trip_ms": round(median(times) * 1e3, 3)}


def _artifacts() -> dict[str, Any]:
    """Bytes that differ every time, so that a store that already has them cannot flatter itself."""
    content = os.urandom(ARTIFACT_BYTES)
    start = time.perf_counter()
    kept = artifacts.put(io.BytesIO(content), name="diagnose.bin")
    written = time.perf_counter() - start
    same = artifacts.path(kept.sha256).read_bytes() == content
    artifacts.remove(kept)
    if not same:
        raise Refused("The artifact store gave back other bytes than it was given; look at its disk.")
    return {"write_mb_per_s": round(ARTIFACT_BYTES / 1e6 / written, 1)}


def _devices() -> list[dict[str, Any]]:
    """Each with a matrix product, which shows a GPU that torch sees and cannot use."""
    found = []
    for device in devices():
        gflops = round(matmul_flops(device.name) / 1e9, 1)
        memory = {"memory_gib": round(device.memory / 2**30, 1)} if device.memory else {}
        found.append({"device": device.name, "title": device.title, **memory, "float32_gflops": gflops})
    return found


def _lines(found: Any) -> list[str]:
    if isinstance(found, list):
        return [line for each in found for line in _lines(each)]
    return [f"{name:<15} {value}" for name, value in found.items()]
