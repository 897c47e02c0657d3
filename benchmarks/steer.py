"""How fast a steered lm writes: `python -m benchmarks.steer`.

The demo's deep lm and one of its SAEs, in one process, turn by turn:

- tokens a second with two interventions, beside `generate` of transformers on the same lm, both sampling with a
  key-value cache;
- the time of a five-way sweep in one pass, over that of one of its runs.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks import machine
from benchmarks.servers import ROOT
from sae_core import Intervention, Lm, Method, Plan, Run, Sae, Sampling, load_lm, load_sae, steered

LM, SAE = ROOT / "demo/lms/deep", ROOT / "demo/saes/deep-batchtopk-2048"
PROMPT = "def double(x):\n    return"
BARS = {"over_generate": 0.95, "sweep_over_one": 1.5}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=96, help="that are written in each turn")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    load = machine.OtherLoad()
    lm, sae = load_lm(LM), load_sae(SAE)
    lm.hf.generation_config.eos_token_id = None  # or one would write less than the other
    lm.hf.config.eos_token_id = None
    assert lm.tokenizer
    prompt = [lm.bos_id or 0, *lm.tokenizer.encode(PROMPT)]
    ways = {
        "generate": lambda: _generate(lm, prompt, asked.tokens),
        "two": lambda: _steer(lm, prompt, [Run(_two(sae, 1))], asked.tokens),
        "sweep": lambda: _steer(lm, prompt, [Run(_two(sae, times)) for times in (0, 0.5, 1, 2, -1)], asked.tokens),
    }
    seconds = _turns(ways, asked.rounds)
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    over = statistics.median(a / b for a, b in zip(seconds["generate"], seconds["two"], strict=True))
    sweep = statistics.median(a / b for a, b in zip(seconds["sweep"], seconds["two"], strict=True))
    on = machine.describe()
    print(f"{machine.in_words(on)}; other load took {load.share():.0%} of it", file=sys.stderr)
    print(
        json.dumps(
            {
                "benchmark": "steer",
                "machine": on,
                "lm": LM.name,
                "sae": SAE.name,
                "tokens": asked.tokens,
                "tokens_per_second": {name: asked.tokens / each for name, each in middle.items()},
                "over_generate": over,
                "sweep_over_one": sweep,
                "bars": BARS,
            }
        )
    )
    return 0


def _turns(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, write in ways.items():
            before = time.perf_counter()
            write()
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - before)
    return seconds


def _two(sae: Sae, times: float) -> tuple[Intervention, ...]:
    """One that needs to know what fires, and one that does not."""
    if not times:
        return ()
    return (
        Intervention(sae, Method.CLAMP, (618,), 3.0 * times),
        Intervention(sae, Method.ADD, (414,), 1.0 * times),
    )


def _steer(lm: Lm, prompt: list[int], runs: list[Run], tokens: int) -> None:
    written = sum(1 for _ in steered(lm, Plan(prompt, runs, tokens, Sampling())))
    assert written == tokens


def _generate(lm: Lm, prompt: list[int], tokens: int) -> None:
    ids = torch.tensor([prompt])
    found = lm.hf.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=True, top_k=0)
    assert found.shape[1] == len(prompt) + tokens


if __name__ == "__main__":
    sys.exit(main())
