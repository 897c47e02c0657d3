"""From a click to a steered token: `python -m benchmarks.steer_click`.

A feature's page of the demo's deep lm in a real Chromium, by the real server, broker and interactive worker, all on
this machine: the time from the click on "Once, beside the model as it is" to the frame in which the first steered token
has been drawn, beside the time that the bare lm takes to its first token in this process.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from playwright.sync_api import Page, sync_playwright

from benchmarks import machine, servers, wrk
from benchmarks.servers import ROOT
from sae_core import load_lm
from tests.tools import ARGUMENTS, find_chromium

LM, SAE, FEATURE = ROOT / "demo/lms/deep", ROOT / "demo/saes/deep-batchtopk-2048", 618
CORPUS = ROOT / "demo/corpus"
CONTEXTS = 512
PROMPT = "def double(x):\n    "
BAR = 150.0  # milliseconds over the bare lm
TIMED = """
addEventListener("click", () => sessionStorage.setItem("clicked", performance.timeOrigin + performance.now()), true);
(function look() {
  const written = document.querySelector("[data-written='1']");
  if (written?.textContent && !sessionStorage.getItem("drawn")) {
    sessionStorage.setItem("drawn", performance.timeOrigin + performance.now());
  }
  requestAnimationFrame(look);
})();
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    bare = _bare(asked.rounds)
    with _demo() as (address, sign_in):
        clicks = _clicks(address, sign_in, asked.rounds)
    over = statistics.median(clicks) - statistics.median(bare)
    on = machine.describe()
    print(machine.in_words(on), file=sys.stderr)
    figures = {
        "benchmark": "steer_click",
        "machine": on,
        "bare_ms": statistics.median(bare),
        "click_ms": statistics.median(clicks),
        "click_p95_ms": sorted(clicks)[round(0.95 * (len(clicks) - 1))],
        "over_bare_ms": over,
        "bar_ms": BAR,
    }
    print(json.dumps(figures))
    return 0


def _bare(rounds: int) -> list[float]:
    lm = load_lm(LM)
    assert lm.tokenizer
    ids = torch.tensor([[lm.bos_id or 0, *lm.tokenizer.encode(PROMPT)]])
    taken = []
    for _ in range(rounds + 1):
        before = time.perf_counter()
        lm.hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=True, top_k=0)
        taken.append((time.perf_counter() - before) * 1000)
    return taken[1:]  # the first warms up


@contextmanager
def _demo() -> Iterator[tuple[str, str]]:
    """The address of a feature's page on a server of its own, and that of a sign-in."""
    with servers.up() as (port, variables):
        yield f"http://127.0.0.1:{port}{_added(variables)}features/{FEATURE}/", _sign_in(variables)


def _added(variables: dict[str, str]) -> str:
    """The SAE's page."""
    words = ("--lm", LM, "--sae", SAE, "--tokens", CORPUS, "--contexts", CONTEXTS, "--as-it-is")
    said = subprocess.run(
        servers.manage("explore", *map(str, words)), cwd=ROOT, env=variables, check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"/saes/[^/\s]+/", said)
    if not found:
        raise wrk.NotMeasured(f"no page was named:\n{said}")
    return found[0]


def _sign_in(variables: dict[str, str]) -> str:
    said = subprocess.run(
        servers.manage("sign_in_link", "admin"), cwd=ROOT, env=variables, check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"http\S+", said)
    if not found:
        raise wrk.NotMeasured(f"no link was named:\n{said}")
    return found[0]


def _clicks(address: str, sign_in: str, rounds: int) -> list[float]:
    program = find_chromium()
    if not program:
        raise wrk.NotMeasured("there is no Chromium here")
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(sign_in)
        page.get_by_role("button").last.click()
        page.add_init_script(TIMED)
        taken = [_click(page, address) for _ in range(rounds + 2)]
        browser.close()
    return taken[2:]  # the first loads the lm


def _click(page: Page, address: str) -> float:
    page.goto(address)
    page.evaluate("sessionStorage.clear()")
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_role("button", name="Once, beside the model as it is").click()
    page.locator(".written .tokens").nth(1).wait_for()  # one at a time
    taken = page.evaluate("sessionStorage.getItem('drawn') - sessionStorage.getItem('clicked')")
    return float(taken)


if __name__ == "__main__":
    sys.exit(main())
