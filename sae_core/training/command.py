"""`python -m sae_core train`."""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from itertools import product
from pathlib import Path
from typing import Any

import safetensors
from tqdm import tqdm

import sae_core  # loads torch when it is asked for something, not before
from sae_core.config import SaeConfig
from sae_core.errors import BadInput
from sae_core.training.config import CHECKPOINT, TRAINED, Precision, Sparsity, TrainConfig

LOG = "training.jsonl"
# What is said of the SAEs, each under the name of its field in TrainConfig, with what the help adds.
NUMBERS: dict[str, tuple[type, str]] = {
    "k": (int, "latents kept a token: topk, batchtopk, matryoshka"),
    "target_l0": (float, "latents that are to fire a token: relu, jumprelu, gated"),
    "learning_rate": (float, ""),
    "warmup": (float, "share of the steps over which the learning rate rises"),
    "decay": (float, "share of the steps over which it falls at the end"),
    "l1": (float, "λ: relu, gated"),
    "l0": (float, "λ: jumprelu"),
    "sparsity_warmup": (float, "share of the steps over which λ rises"),
    "bandwidth": (float, "ε: jumprelu"),
    "threshold": (float, "θ at the start: jumprelu"),
    "aux_k": (int, "dead latents that learn from what is left over; 0: none"),
    "aux_weight": (float, "of their loss"),
    "dead_after": (int, "tokens of silence that make a latent dead"),
}


def add_arguments(each: argparse.ArgumentParser) -> None:
    source = each.add_argument_group("what it reads")
    source.add_argument("--lm", help="a folder, or an id of the hub; with --tokens and --hookpoint")
    source.add_argument("--tokens", metavar="PATH", help=".npy of ids, or a corpus's folder")
    source.add_argument("--hookpoint", metavar="NAME", help="blocks.5.hook_resid_post, say")
    source.add_argument("--hookpoint-out", metavar="NAME", help="what a transcoder reconstructs")
    source.add_argument("--activations", metavar="PATH", help=".npy of activations, instead of lm and tokens")
    source.add_argument("--activations-out", metavar="PATH", help=".npy of what a transcoder reconstructs")
    source.add_argument("--context-length", type=int, help="where the .npy of ids is one long row")
    source.add_argument(
        "--mask-ids", nargs="*", type=int, metavar="ID", help="do not count (as is: the lm's bos and pad)"
    )
    source.add_argument("--device", help="cpu, cuda, cuda:1, …")
    source.add_argument("--dtype", help="of the lm: float32 (as is), bfloat16, …")

    what = each.add_argument_group("what is trained: one SAE for each size and each seed, all from one stream")
    what.add_argument("--family", required=True, choices=[str(name) for name in TRAINED])
    what.add_argument("--n-latents", required=True, type=int, nargs="+", metavar="N")
    what.add_argument("--seed", type=int, nargs="+", default=[0], metavar="N")
    what.add_argument("--sparsity", choices=[str(name) for name in Sparsity], help="of relu (as is: weighted)")
    what.add_argument("--normalise", choices=("none", "constant_norm", "layer_norm"), help="each input by itself")
    what.add_argument("--precision", choices=[str(name) for name in Precision], help="of the dense product")
    what.add_argument(
        "--prefixes", type=int, nargs="+", metavar="N", help="sizes of the nested dictionaries: matryoshka"
    )
    what.add_argument("--skip", action="store_true", help="a transcoder's skip connection")
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    for name, (kind, help_) in NUMBERS.items():
        default = defaults[name]
        usual = "" if default in (None, MISSING) else f" (as is: {default:g})"
        what.add_argument(_flag(name), type=kind, metavar="X" if kind is float else "N", help=(help_ + usual).strip())

    how = each.add_argument_group("how")
    how.add_argument("--out", required=True, metavar="FOLDER", help="the SAE's; of several, a folder within it each")
    how.add_argument("--train-tokens", type=int, metavar="N", help="as is: all that count, once")
    how.add_argument("--batch-size", type=int, default=2048, metavar="N", help="tokens (as is: 2048)")
    how.add_argument("--buffer-tokens", type=int, metavar="N", help="shuffled together")
    how.add_argument("--log-every", type=int, default=100, metavar="STEPS")
    how.add_argument("--checkpoint-every", type=int, default=1000, metavar="STEPS", help="0: never")
    how.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")


def run(given: argparse.Namespace) -> dict[str, Any]:
    transcoder = bool(given.hookpoint_out or given.activations_out)
    configs = [_config(given, n_latents, seed, transcoder) for n_latents, seed in product(given.n_latents, given.seed)]
    out = Path(given.out)
    folders = [out] if len(configs) == 1 else [out / f"{each.family}-{each.n_latents}-{each.seed}" for each in configs]
    if len(set(folders)) < len(folders):
        raise BadInput("a size or a seed is named twice")
    # One that was killed while it wrote its SAEs has some of them, and still its checkpoint.
    going_on = given.resume and (out / CHECKPOINT).exists()
    if not going_on and (held := [each for each in folders if (each / "sae.json").exists()]):
        raise BadInput(f"{held[0]}: holds an SAE already; name another folder")
    source, where = _source(given)
    training = sae_core.Training(
        tokens=given.train_tokens,
        batch_size=given.batch_size,
        buffer_tokens=given.buffer_tokens,
        log_every=given.log_every,
        checkpoint_every=given.checkpoint_every,
    )
    if not given.resume:
        with _writing(out):
            out.mkdir(parents=True, exist_ok=True)
    last, started = list[Any](), time.perf_counter()
    with tqdm(unit="token", unit_scale=True, disable=None) as bar:

        def on_progress(progress: Any) -> None:
            if not last:
                _begin_log(out / LOG, progress.step if given.resume else 0)
            with _writing(out / LOG), (out / LOG).open("a", encoding="utf-8") as log:
                print(json.dumps(_row(progress)), file=log)
            last[:] = [progress]
            bar.total = progress.steps * training.batch_size
            bar.update(progress.tokens - bar.n)
            shown = progress.saes[0]
            bar.set_postfix_str(f"loss {shown.loss:.3g}, L0 {shown.l0:.1f}, FVU {shown.fvu:.3f}, silent {shown.silent}")

        saes = sae_core.train_saes(
            source, configs, training, where=where, folder=out, resume=given.resume, on_progress=on_progress
        )
    for sae, folder in zip(saes, folders, strict=True):
        with _writing(folder):
            sae_core.save_sae(sae, folder)
    (out / CHECKPOINT).unlink(missing_ok=True)  # not before the SAEs are written
    (progress,) = last
    named = zip(configs, folders, progress.saes, strict=True)
    return {
        "out": str(out),
        "tokens": progress.tokens,
        "steps": progress.steps,
        "seconds": round(time.perf_counter() - started, 3),
        "tokens_per_second": round(progress.tokens_per_second, 1),
        "saes": [
            {"folder": str(folder), "n_latents": config.n_latents, "seed": config.seed} | _said(report)
            for config, folder, report in named
        ],
    }


def _config(given: argparse.Namespace, n_latents: int, seed: int, transcoder: bool) -> TrainConfig:
    names = (*NUMBERS, "sparsity", "normalise", "precision")
    said: dict[str, Any] = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.prefixes:
        said["prefixes"] = tuple(given.prefixes)
    return TrainConfig(
        family=given.family, n_latents=n_latents, seed=seed, transcoder=transcoder, skip=given.skip, **said
    )


def _source(given: argparse.Namespace) -> tuple[Any, SaeConfig | None]:
    """Where activations come from, and what the SAEs are to know of that place."""
    if given.activations:
        _unused(given, "activations", ("lm", "tokens", "context_length", "mask_ids", "dtype"))
        if bool(given.hookpoint_out) > bool(given.activations_out):
            raise BadInput("--hookpoint-out says nothing beside --activations without --activations-out")
        if given.activations_out and given.hookpoint and not given.hookpoint_out:
            raise BadInput("--hookpoint says where it reads; say with --hookpoint-out what it reconstructs")
        source = sae_core.FileSource(given.activations, path_out=given.activations_out, device=given.device)
        # The family and size are the SAE's own; only its place is taken from here.
        place: dict[str, Any] = {"hookpoint": given.hookpoint or "", "hookpoint_out": given.hookpoint_out or ""}
        return source, SaeConfig(TRAINED[0], source.d_in, 1, source.d_out, **place)
    _unused(given, "lm", ("activations_out",))
    if missing := [_flag(name) for name in ("lm", "tokens", "hookpoint") if not getattr(given, name)]:
        raise BadInput(f"{', '.join(missing)} missing: give --lm, --tokens and --hookpoint, or --activations")
    lm = sae_core.load_lm(given.lm, device=given.device, dtype=given.dtype)
    path, lengths = Path(given.tokens), None
    if path.is_dir():
        corpus = sae_core.open_corpus(path)
        if lm.tokenizer:
            corpus.check_tokenizer(lm.tokenizer)
        contexts, lengths = corpus.contexts, corpus.lengths
    else:
        contexts = sae_core.tokens_from_npy(path, context_length=given.context_length, n_vocab=lm.n_vocab)
    read = sae_core.LmSource(
        lm, contexts, given.hookpoint, hookpoint_out=given.hookpoint_out, lengths=lengths, mask_ids=given.mask_ids
    )
    return read, read.place


def _unused(given: argparse.Namespace, beside: str, names: Sequence[str]) -> None:
    if there := [_flag(name) for name in names if getattr(given, name) is not None]:
        raise BadInput(f"{there[0]} says nothing beside {_flag(beside)}")


def _row(progress: Any) -> dict[str, Any]:
    row: dict[str, Any] = progress._asdict()
    return row | {"saes": [_said(each) for each in progress.saes]}


def _said(report: Any) -> dict[str, Any]:
    """JSON knows no NaN, which the FVU of what does not vary is."""
    return {name: value if math.isfinite(value) else None for name, value in report._asdict().items()}


def _begin_log(path: Path, step: int) -> None:
    """With the rows before that step: one that died may have come further than the checkpoint that it goes on from."""
    kept = []
    with _writing(path):
        for line in path.read_text("utf-8").splitlines() if step and path.exists() else ():
            with suppress(ValueError):  # half a row, the last one of a training that was killed
                if json.loads(line)["step"] < step:
                    kept.append(f"{line}\n")
        path.write_text("".join(kept), "utf-8")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        raise BadInput(f"{path}: cannot be written ({error}); a checkpoint that was kept stays") from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
