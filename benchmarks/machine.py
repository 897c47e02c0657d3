"""What a benchmark ran on."""

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import psutil


def describe() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def in_words(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['system']}, Python {machine['python']}"
    )


class OtherLoad:
    """What share of the machine's time went to processes that are not ours, or to other machines of its host."""

    def __init__(self) -> None:
        self._times, self._ours = psutil.cpu_times(), _our_seconds()

    def share(self) -> float:
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._times, name) for name in now._fields}
        idle = spent["idle"] + spent.get("iowait", 0.0)
        whole = sum(seconds for name, seconds in spent.items() if not name.startswith("guest"))  # they count as user
        return float(max(0.0, whole - idle - (_our_seconds() - self._ours)) / whole)


def _our_seconds() -> float:
    """Of this process and of all it started, those that have ended included."""
    us = psutil.Process()
    times = [us.cpu_times()]
    for process in us.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(process.cpu_times())
    return float(sum(each.user + each.system + each.children_user + each.children_system for each in times))


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or "an unnamed processor"
