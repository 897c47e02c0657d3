"""How fast SAEs train: `python -m benchmarks.train`.

Steps per second of ours, of SAELens and of a plain loop in torch, from the same start with the same batches, rates and
number of steps, and in the end the FVU of each on the same held-out rows. TopK, k = 32, batches of 2,048: 256 -> 4,096
latents in 2 threads, or with `--device cuda` 2,304 -> 65,536. `benchmarks/train_peers.py` says what each contender is.

Each has a process of its own, which waits while another one's round runs. The first round warms up; figures are medians
over the others, ratios medians of the ratios within a round. SAELens lives in `.bench`, which is made where it is
missing, in some minutes.

The rows are made: 2,048 directions, of which 16 are active in a row on average, the i-th with a chance that falls as
1/(i + 20), with coefficients from 0.5 to 1.5, and a little noise; their mean norm is the root of their width.
"""

import argparse
import json
import math
import os
import selectors
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks import machine, train_peers
from benchmarks.train_peers import CONTENDERS, SAMPLE, Setting, Weights

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".bench"
SAELENS = "sae-lens==6.54.12"
IN_CUDA = ("ours", "saelens_autocast", "plain_autocast", "floor")  # all in bfloat16
MOST_ROWS, HELD_OUT = 400_000, 8192
DIRECTIONS, ACTIVE, FLATTENED, NOISE = 2048, 16, 20, 0.02
INSTALLING, PATIENCE = 1800.0, 900.0  # seconds for one command of pip, and for one reply


class NotMeasured(Exception):
    """Something without which a figure would mean nothing; the message says what."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="beside the one that warms up")
    parser.add_argument("--steps", type=int, default=40, help="of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    given = parser.parse_args()
    names: list[str] = given.only or list(IN_CUDA if given.device == "cuda" else CONTENDERS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("train: stopped"))  # nothing is left lying or running
    try:
        _measure(_setting(given), names)
    except NotMeasured as why:
        print(f"train: {why}", file=sys.stderr)
        return 1
    return 0


def _measure(setting: Setting, names: list[str]) -> None:
    pythons = {name: str(_saelens_python()) if name.startswith("saelens") else sys.executable for name in names}
    with tempfile.TemporaryDirectory(prefix="train-benchmark-") as made:
        folder = Path(made)
        held_out = _prepare(folder, setting)
        with ExitStack() as stack:
            peers = {name: stack.enter_context(_running(name, pythons[name], folder, setting)) for name in names}
            load = machine.OtherLoad()
            taken = [{name: peer.round() for name, peer in peers.items()} for _ in range(setting.rounds)][1:]
            busy = load.share()
            for peer in peers.values():
                peer.end()
        trained = ["start", *(name for name in names if not name.startswith("floor"))]
        fvus = {name: _fvu(folder / f"{name}.safetensors", held_out, setting.k) for name in trained}
    _print(_result(setting, taken, fvus, {name: peer.told for name, peer in peers.items()}), names, busy)


def _setting(given: argparse.Namespace) -> Setting:
    d, n_latents = (2304, 65_536) if given.device == "cuda" else (256, 4096)
    rounds = given.rounds + 1
    rows = min(MOST_ROWS, max(rounds * given.steps * Setting.batch, SAMPLE)) // Setting.batch * Setting.batch
    return Setting(d, n_latents, rows, given.steps, rounds, given.threads, given.device)


# --- what is shared


def _saelens_python() -> Path:
    """That of an environment of its own; torch first and at our version, so that its index decides which build."""
    python, installed = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    wanted = [f"torch=={torch.__version__.partition('+')[0]}", SAELENS]
    if not installed.is_file() or installed.read_text().split() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, timeout=INSTALLING)
        for package in wanted:
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True, timeout=INSTALLING)
        installed.write_text("\n".join(wanted))
    return python


def _prepare(folder: Path, setting: Setting) -> Tensor:
    """Writes what contenders read; the rows that SAEs are judged by."""
    torch.set_num_threads(setting.threads)
    rows = np.lib.format.open_memmap(
        folder / "x.npy", mode="w+", dtype=np.float32, shape=(setting.rows + HELD_OUT, setting.d)
    )
    end = 0
    for made in _planted(setting.d):
        start, end = end, min(end + len(made), len(rows))
        rows[start:end] = made[: end - start].numpy()
        if end == len(rows):
            break
    rows.flush()
    sample = torch.from_numpy(rows[:SAMPLE].copy())
    weights = train_peers.our_weights(train_peers.our_trainer(setting, sample, "float32"))
    train_peers.write_weights(folder / "start.safetensors", weights)
    (folder / "setting.json").write_text(json.dumps(asdict(setting)))
    return torch.from_numpy(rows[setting.rows :].copy())


def _planted(d: int) -> Iterator[Tensor]:
    """Rows without end, SAMPLE at a time."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(DIRECTIONS, d, generator=generator))
    chances = 1 / (torch.arange(DIRECTIONS) + FLATTENED)
    chances *= ACTIVE / chances.sum()
    scale = 0.0
    while True:
        active = torch.rand(SAMPLE, DIRECTIONS, generator=generator) < chances
        coefficients = active * (torch.rand(SAMPLE, DIRECTIONS, generator=generator) + 0.5)
        x = coefficients @ directions + NOISE * torch.randn(SAMPLE, d, generator=generator)
        scale = scale or math.sqrt(d) / x.norm(dim=1).mean().item()
        yield x * scale


# --- the contenders


@contextmanager
def _running(name: str, python: str, folder: Path, setting: Setting) -> Iterator["Peer"]:
    command = [python, "-P", train_peers.__file__, name, str(folder)]
    variables = os.environ | {"OMP_NUM_THREADS": str(setting.threads)}
    log = folder / f"{name}.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            yield Peer(name, process, log)
        finally:
            process.kill()


class Peer:
    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name, self._process, self._log = name, process, log
        self.told = self._reply()

    def round(self) -> float:
        """Seconds of one more round."""
        assert self._process.stdin
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()
        return float(self._reply()["seconds"])

    def end(self) -> None:
        """Waits for its weights."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not end in {PATIENCE:.0f} s") from None
        if code:
            raise self._failed(f"ended with {code}")

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(PATIENCE):
                raise self._failed(f"said nothing for {PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("ended early")
        return cast(dict[str, Any], json.loads(line))

    def _failed(self, how: str) -> NotMeasured:
        last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
        return NotMeasured(f"{self._name} {how}; its log ends with:\n{last}")


# --- what came of it


@torch.no_grad()
def _fvu(path: Path, x: Tensor, k: int) -> float:
    """Dense and in float32, for everybody alike; the sums in float64."""
    weights: Weights = train_peers.read_weights(path, "cpu")
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]  # (n, n_latents)
    top = pre.topk(k, dim=1)
    x_hat = torch.zeros_like(pre).scatter_(1, top.indices, top.values.relu()) @ weights["W_dec"] + weights["b_dec"]
    return ((x - x_hat).double().square().sum() / (x - x.mean(0)).double().square().sum()).item()


def _result(
    setting: Setting, taken: list[dict[str, float]], fvus: dict[str, float], told: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    names = list(told)
    rates = {name: setting.steps / statistics.median(each[name] for each in taken) for name in names}
    over = [(a, b) for a in names if a.startswith("ours") for b in names if not b.startswith("ours")]
    shares = {}
    if setting.device == "cuda" and "floor" in told:
        flops = 2 * setting.batch * setting.d * setting.n_latents  # of the dense encode
        shares = {name: flops * rates[name] / told["floor"]["matrix_flops"] for name in names}
    return {
        "setting": asdict(setting),
        "steps_per_second": rates,
        "ratios": {f"{a}/{b}": statistics.median(each[b] / each[a] for each in taken) for a, b in over},
        "fvu": fvus,
        "matrix_flops": {name: each["matrix_flops"] for name, each in told.items() if "matrix_flops" in each},
        "share_of_matrix_rate": shares,
    }


def _print(result: dict[str, Any], names: list[str], busy: float) -> None:
    on, setting = machine.describe(), result["setting"]
    if setting["device"] == "cuda":
        on["gpu"] = torch.cuda.get_device_name()
    print(f"{machine.in_words(on)}; other load took {busy:.0%} of it")
    print(f"{setting['rounds']} rounds of {setting['steps']} steps, the first one to warm up")
    print(f"FVU before the first step {result['fvu']['start']:.4f}\n")
    print(f"{'':<18}{'steps/s':>10}{'FVU':>10}")
    for name in names:
        fvu = f"{result['fvu'][name]:.4f}" if name in result["fvu"] else ""
        print(f"{name:<18}{result['steps_per_second'][name]:>10.2f}{fvu:>10}")
    print()
    for name, ratio in result["ratios"].items():
        print(f"{name:<32}{ratio:>6.2f}")
    for name, share in result["share_of_matrix_rate"].items():
        print(f"{name:<18} dense encode alone is {share:.1%} of the measured matrix rate")
    print(json.dumps({"benchmark": "train", "machine": on, "other_load": busy, **result}))


if __name__ == "__main__":
    sys.exit(main())
