"""What collecting costs over the bare work: `python -m benchmarks.collect`.

131,072 tokens, an lm of 4 layers of 256 read at layer 2, k = 32. The bare loop runs the forward to the layer, encodes,
and takes the top k (a ReLU SAE's: what is above 0), in plain torch, and keeps nothing. Both take turns within one
process, round after round; the first warms up; figures are medians, ratios medians of the ratios within a round. Memory
is that of processes which do nothing else. Growth is told of 2, 4 and 8 times the tokens and the latents. And two SAEs
share one forward, against one.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks import collect_setting, machine
from benchmarks.collect_setting import bare_loop, make_contexts, make_lm, make_sae, ours

TOKENS = 131_072
CASES = [("topk", 2048), ("relu", 2048), ("topk", 16_384), ("relu", 16_384)]
BARS = {2048: 1.2, 16_384: 1.15}  # of the pass; of the whole 1.3
GROWING_TOKENS = [262_144 * times for times in (1, 2, 4, 8)]  # from where the audit sample is full
GROWING_LATENTS = [2048 * times for times in (1, 2, 4, 8)]
BYTES_PER_LATENT = 2048  # allowed beyond 15 %


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="beside the one that warms up")
    parser.add_argument("--only", choices=("time", "memory", "growth", "shared"), nargs="+")
    given = parser.parse_args()
    load, on = machine.OtherLoad(), machine.describe()
    parts: dict[str, Callable[[], Any]] = {
        "time": lambda: _times(given.rounds),
        "memory": _memory,
        "growth": _growth,
        "shared": lambda: _shared(given.rounds),
    }
    result = {name: part() for name, part in parts.items() if not given.only or name in given.only}
    busy = load.share()
    print(f"{machine.in_words(on)}, {torch.get_num_threads()} threads; other load took {busy:.0%} of it")
    print(json.dumps({"benchmark": "collect", "machine": on, "other_load": busy, "tokens": TOKENS, **result}))
    return 0


def _times(rounds: int) -> list[dict[str, Any]]:
    lm, contexts = make_lm(), make_contexts(TOKENS)
    found: list[dict[str, Any]] = []
    print(f"{'':<14}{'bare, s':>9}{'pass, s':>9}{'whole, s':>9}{'pass/bare':>11}{'bar':>6}{'whole/bare':>12}{'bar':>6}")
    for family, n_latents in CASES:
        sae = make_sae(lm, contexts, family, n_latents)
        taken = [(bare_loop(lm, sae, contexts), *ours(lm, [sae], contexts)) for _ in range(rounds + 1)][1:]
        bare, passed, whole = (statistics.median(each) for each in zip(*taken, strict=True))
        ratios = [statistics.median(each[i] / each[0] for each in taken) for i in (1, 2)]
        spread = [min(each[1] / each[0] for each in taken), max(each[1] / each[0] for each in taken)]
        print(
            f"{family:<5}{n_latents:>7,}  {bare:>9.2f}{passed:>9.2f}{whole:>9.2f}{ratios[0]:>11.2f}"
            f"{BARS[n_latents]:>6.2f}{ratios[1]:>12.2f}{1.3:>6.2f}"
        )
        found.append(
            {"family": family, "latents": n_latents, "bare": bare, "pass": passed, "whole": whole,
             "pass_ratio": ratios[0], "whole_ratio": ratios[1], "pass_ratio_spread": spread}
        )  # fmt: skip
    return found


def _memory() -> list[dict[str, Any]]:
    print(f"\n{'peak memory, MB':<18}{'bare':>8}{'ours':>8}{'allowed':>9}")
    found = []
    for family, n_latents in CASES:
        bare, mine = (_alone(name, family, n_latents, TOKENS)["peak_bytes"] for name in ("bare", "ours"))
        allowed = 1.15 * bare + BYTES_PER_LATENT * n_latents
        print(f"{family:<5}{n_latents:>7,}      {bare / 1e6:>8.0f}{mine / 1e6:>8.0f}{allowed / 1e6:>9.0f}")
        found.append({"family": family, "latents": n_latents, "bare": bare, "ours": mine, "allowed": allowed})
    return found


def _growth() -> dict[str, list[dict[str, Any]]]:
    print(f"\n{'growth, TopK':<22}{'pass, s':>9}{'whole, s':>10}{'peak, MB':>10}")
    found: dict[str, list[dict[str, Any]]] = {"tokens": [], "latents": []}
    for name, sizes in (("tokens", GROWING_TOKENS), ("latents", GROWING_LATENTS)):
        for size in sizes:
            n_latents, tokens = (2048, size) if name == "tokens" else (size, 65_536)
            told = _alone("ours", "topk", n_latents, tokens)
            passed, whole = told["seconds"]
            print(f"{size:>9,} {name:<12}{passed:>9.2f}{whole:>10.2f}{told['peak_bytes'] / 1e6:>10.0f}")
            found[name].append({name: size, "pass": passed, "whole": whole, "peak_bytes": told["peak_bytes"]})
    return found


def _shared(rounds: int) -> dict[str, float]:
    lm, contexts = make_lm(), make_contexts(TOKENS)
    saes = [make_sae(lm, contexts, "topk", 2048, seed) for seed in (0, 1)]
    taken = [(ours(lm, saes[:1], contexts)[0], ours(lm, saes, contexts)[0]) for _ in range(rounds + 1)][1:]
    ratio = statistics.median(two / one for one, two in taken)
    print(f"\ntwo SAEs of 2,048 on one forward take {ratio:.2f} × the pass of one\n")
    return {"two_over_one": ratio}


def _alone(contender: str, family: str, n_latents: int, tokens: int) -> dict[str, Any]:
    command = [sys.executable, "-m", collect_setting.__name__, contender, family, str(n_latents), str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


if __name__ == "__main__":
    sys.exit(main())
