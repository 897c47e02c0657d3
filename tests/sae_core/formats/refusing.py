"""What is asserted of every refusal."""

import subprocess
import sys
from pathlib import Path

import pytest

from sae_core.errors import BadInput
from sae_core.formats import load_sae


def refused(path: Path, *words: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_sae(path)
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


PEAK = """
import resource, sys, warnings
from sae_core.errors import BadInput
from sae_core.formats import load_sae
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_sae(sys.argv[1])
except BadInput as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    print(error)
"""


def peak_of_a_refusal(path: Path) -> tuple[int, str]:
    """Megabytes taken above the imports, and the message."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    megabytes, message = done.stdout.split("\n", 1)
    return int(megabytes), message
