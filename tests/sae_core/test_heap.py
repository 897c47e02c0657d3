"""What is freed stays with the process while it is asked to, and goes back afterwards; told of a process of its own."""

import json
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
import numpy as np, psutil
from sae_core import heap

MIB, TIMES = 1 << 20, 5

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        np.ones(48 * MIB, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return psutil.Process().memory_info().rss / MIB

told = {"before": faults(), "held_before": held()}
with heap.kept():
    faults()
    with heap.kept():
        told["within"] = faults()
    told["still"], told["held"] = faults(), held()
told |= {"held_after": held(), "after": faults()}
print(json.dumps(told))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left alone")
def test_what_is_freed_stays_and_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    told = json.loads(done.stdout)
    assert told["before"] > 20
    assert max(told["within"], told["still"]) < told["before"] / 5
    assert told["held"] > told["held_before"] + 40
    assert told["held_after"] < told["held_before"] + 10
    assert told["after"] > told["within"]
