"""Load by `wrk`, each of whose answers must be the one that a single plain request gets."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 8
SKIPPED = 1000  # paths that a start may have asked for before it was given up
MOST_STARTS, SETTLING = 40, 0.25  # seconds after which all connections have been accepted
SCRIPT, WALK = Path(__file__).with_name("wrk.lua"), Path(__file__).with_name("wrk_walk.lua")
PATIENCE = 15.0  # seconds that wrk or an answer may take beyond what was asked


class NotMeasured(Exception):
    """Something without which a figure would mean nothing; the message says what."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    length: int  # bytes, the head included


@dataclass(frozen=True)
class Load:
    requests_per_second: float
    p95_ms: float
    lopsided: int  # starts before it that left a process of the server without a connection


def find() -> str:
    found = shutil.which("wrk")
    if not found:
        raise NotMeasured("wrk is not installed: `apt-get install wrk`, `brew install wrk`, or github.com/wg/wrk")
    return found


def ask(port: int, path: str, headers: Mapping[str, str]) -> Answer:
    """One plain request, on a connection of its own."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {headers[name]}" for name in headers)]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        with client.makefile("rb") as answer:
            head = [answer.readline()]
            while head[-1].strip():
                head.append(answer.readline())
            fields = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head[1:-1]}
            if not head[0] or b"transfer-encoding" in fields:
                raise NotMeasured(f"{path}: an answer whose length is said was expected; it began with {head[0]!r}")
            status = int(head[0].split()[1])
            body = b"" if status == 304 else answer.read(int(fields[b"content-length"]))
    return Answer(status, body, sum(map(len, head)) + len(body))


def load(
    port: int,
    path: str,
    headers: Mapping[str, str],
    *,
    seconds: int,
    expected: Answer,
    shared: Callable[[int], bool],
) -> Load:
    """One run of wrk, begun again until `shared(its process id)`: see Serving.shared_out.

    wrk counts only statuses from 400 on as bad, so a redirect is told by its length.
    """
    code, output, errors, lopsided = _run(port, SCRIPT, headers, seconds, shared, {}, path)
    return _read(code, output, errors, path, expected, lopsided)


def _run(
    port: int,
    script: Path,
    headers: Mapping[str, str],
    seconds: int,
    shared: Callable[[int], bool],
    variables: Mapping[str, str],
    path: str = "/",
) -> tuple[int, str, str, int]:
    """wrk's exit, what it said, and how many starts before it left a process of the server without a connection."""
    options = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = [find(), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "-s", str(script), *options]
    for lopsided in range(MOST_STARTS):
        with subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}{path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables, "SKIP": str(lopsided * SKIPPED)},
        ) as run:
            try:
                time.sleep(SETTLING)
                if run.poll() is None and not shared(run.pid):
                    continue
                output, errors = run.communicate(timeout=seconds + PATIENCE)
            finally:
                run.kill()
        return run.returncode, output, errors, lopsided
    raise NotMeasured(f"{path}: in {MOST_STARTS} starts some process of the server got no connection")


def walk(
    port: int, paths: Sequence[str], headers: Mapping[str, str], *, seconds: int, shared: Callable[[int], bool]
) -> Load:
    """One run over paths, each of which is asked for once at most; every answer must be a 200."""
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as file:
        file.write("\n".join(paths))
        file.flush()
        code, output, errors, lopsided = _run(port, WALK, headers, seconds, shared, {"WALK": file.name})
    if code:
        raise NotMeasured(f"wrk failed on its walk: {errors or output}")
    said = json.loads(output.splitlines()[-1])
    if said["bad_status"] or said["broken"] or not said["requests"]:
        raise NotMeasured(f"of {said['requests']} answers {said['bad_status']} were no 200: {output}")
    if said["asked"] > len(paths):
        raise NotMeasured(f"{len(paths)} paths are too few for {seconds} s: {said['requests']} were answered")
    return Load(said["requests"] / said["microseconds"] * 1e6, said["p95"] / 1e3, lopsided)


def _read(code: int, output: str, errors: str, path: str, expected: Answer, lopsided: int) -> Load:
    if code:
        raise NotMeasured(f"wrk failed on {path}: {errors or output}")
    said = json.loads(output.splitlines()[-1])
    if said["bad_status"] or said["broken"]:
        raise NotMeasured(f"{path}: {said['bad_status']} bad answers and {said['broken']} broken ones: {output}")
    least = said["requests"] * expected.length
    most = (said["requests"] + CONNECTIONS) * expected.length  # each connection may have one under way at the end
    if not said["requests"] or not least <= said["bytes"] <= most:
        raise NotMeasured(
            f"{path}: {said['requests']} answers of {expected.length} bytes were expected; {said['bytes']} bytes came"
        )
    return Load(said["requests"] / said["microseconds"] * 1e6, said["p95"] / 1e3, lopsided)
