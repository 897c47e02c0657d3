"""The command line. Every command prints one JSON object as its last line; all else goes to standard error."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

import sae_core
from sae_core.collecting import command as collecting_command
from sae_core.mapping import command as mapping_command
from sae_core.training import command as training_command

DESCRIPTION = """\
Sparse autoencoders of language models: train them, read them in any library's format, see whether they fit, measure
them, collect what their latents fire on and write, map their directions. Every command prints one JSON object as its
last line."""
EXAMPLES = """\
examples:
  python -m sae_core show SAE
  python -m sae_core corpus --lm LM --text BOOKS/ --out CORPUS
  python -m sae_core train --lm LM --tokens CORPUS --hookpoint blocks.5.hook_resid_post --family topk --k 32 \\
      --n-latents 4096 --out SAE
  python -m sae_core fit --lm LM --sae SAE --tokens CORPUS
  python -m sae_core metrics --lm LM --sae SAE --tokens tokens.npy
  python -m sae_core collect --lm LM --sae SAE --tokens CORPUS --out EVIDENCE
  python -m sae_core map --sae SAE --evidence EVIDENCE/evidence.safetensors --out MAP
  python -m sae_core lens --lm LM --sae SAE --latents 3 17
  python -m sae_core convert SAE OUT --format saelens

LM and SAE are folders, or ids of the Hugging Face hub (an SAE's with its folder: owner/repository/layer_5). Instead of
an SAE, neurons:HOOKPOINT and random:HOOKPOINT:LATENTS[:SEED] are the baseline and the control. SAE_DEVICE names the
device where --device does not."""


def main(arguments: list[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        found = given.run(given)
    except sae_core.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"{'note' if category is sae_core.DoubtfulInput else category.__name__}: {message}", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        "python -m sae_core", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], dict[str, Any]], help_: str) -> argparse.ArgumentParser:
        each = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        each.set_defaults(run=run)
        return each

    each = command("show", show, "what an SAE is, as its files say")
    each.add_argument("sae", metavar="SAE")

    each = command("convert", convert, "read an SAE in any format, write it in ours or SAELens's")
    each.add_argument("sae", metavar="SAE")
    each.add_argument("out", metavar="OUT", help="a new folder")
    each.add_argument("--format", choices=("ours", "saelens"), default="ours")

    each = command("corpus", corpus, "turn text into contexts of token ids")
    each.add_argument("--lm", required=True, help="whose tokenizer cuts the text")
    each.add_argument(
        "--text", required=True, nargs="+", metavar="PATH", help="text files, JSONL, folders of them, .npy of ids"
    )
    each.add_argument("--out", required=True, metavar="FOLDER", help="a new folder")
    each.add_argument("--context-length", type=int, default=128)
    each.add_argument("--apart", action="store_true", help="one document in each context, padded, instead of packed")
    each.add_argument("--no-bos", action="store_true", help="no beginning-of-text token before each context")

    each = command("train", train, "train SAEs, on what an lm makes of tokens or on activations in a file")
    training_command.add_arguments(each)

    each = command("fit", fit, "whether an SAE fits an lm, and what would make it fit better")
    _reading(each)

    each = command("metrics", metrics, "how well an SAE stands in for what it reconstructs")
    _reading(each)
    each.add_argument(
        "--leave-out-sinks", action="store_true", help="positions of ten times the median norm do not count"
    )
    each.add_argument(
        "--no-baselines", action="store_true", help="no PCA, sparse coding and mutual coherence beside it"
    )
    each.add_argument("--batch-size", type=int, metavar="N", help="contexts in a batch")

    each = command("collect", collect, "what every latent fires on and writes, from one pass, in evidence.safetensors")
    _reading(each)
    collecting_command.add_arguments(each)

    each = command(
        "map", mapping_command.run, "directions in two dimensions, near where they are alike, in map.safetensors"
    )
    mapping_command.add_arguments(each)

    each = command("lens", lens, "the tokens that latents make likelier and less likely")
    _reading(each, tokens=False)
    each.add_argument("--latents", required=True, nargs="+", type=int, metavar="N")
    each.add_argument("--top", type=int, default=10, metavar="K")
    return whole


def _reading(each: argparse.ArgumentParser, *, tokens: bool = True) -> None:
    each.add_argument("--lm", required=True)
    each.add_argument("--sae", required=True)
    each.add_argument("--hookpoint", help="where the SAE reads, if its files do not say, or say it wrongly")
    each.add_argument("--device", help="cpu, cuda, cuda:1, …")
    each.add_argument("--dtype", help="of the lm: float32 (as is), bfloat16, …")
    if tokens:
        each.add_argument("--tokens", required=True, metavar="PATH", help=".npy of ids, or a corpus's folder")
        each.add_argument("--context-length", type=int, help="where the .npy is one long row")
        each.add_argument(
            "--mask-ids", nargs="*", type=int, metavar="ID", help="do not count (as is: the lm's bos and pad ids)"
        )


def show(given: argparse.Namespace) -> dict[str, Any]:
    sae = sae_core.load_sae(given.sae)
    norms = sae.W_dec.norm(dim=1)
    return asdict(sae.config) | {
        "tensors": {name: list(each.shape) for name, each in sae.tensors().items()},
        "decoder_norm_mean": float(norms.mean()),
        "decoder_rows_of_zeros": int((norms == 0).sum()),
    }


def convert(given: argparse.Namespace) -> dict[str, Any]:
    sae = sae_core.load_sae(given.sae)
    folder = sae_core.save_sae(sae, given.out, format=given.format)
    return {"out": str(folder), "files": sorted(each.name for each in folder.iterdir()), "source": sae.config.source}


def corpus(given: argparse.Namespace) -> dict[str, Any]:
    tokenizer = sae_core.Tokenizer.load(given.lm)
    if tokenizer is None:
        raise sae_core.BadInput(f"{given.lm}: there is no tokenizer in it")
    with tqdm(unit="B", unit_scale=True, disable=None) as bar:

        def on_progress(progress: Any) -> None:
            bar.total = progress.total_bytes
            bar.update(progress.bytes_read - bar.n)

        made = sae_core.build_corpus(
            given.text,
            tokenizer,
            given.out,
            context_length=given.context_length,
            packing="apart" if given.apart else "packed",
            prepend_bos=not given.no_bos,
            on_progress=on_progress,
        )
    return {"out": given.out} | asdict(made.config)


def train(given: argparse.Namespace) -> dict[str, Any]:
    return training_command.run(given)


def fit(given: argparse.Namespace) -> dict[str, Any]:
    lm, sae = _lm_and_sae(given)
    contexts, _ = _contexts(given, lm)
    found = sae_core.check_fit(lm, sae, contexts, mask_ids=given.mask_ids)
    print(found.message, file=sys.stderr)
    return {
        "message": found.message,
        "as_it_is": asdict(found.as_it_is),
        "better": asdict(found.better) if found.better else None,
        "tried": [asdict(each) for each in found.tried],
    }


def metrics(given: argparse.Namespace) -> dict[str, Any]:
    lm, sae = _lm_and_sae(given)
    contexts, lengths = _contexts(given, lm)
    with tqdm(unit="context", disable=None) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = sae_core.measure(
            lm,
            sae,
            contexts,
            lengths=lengths,
            mask_ids=given.mask_ids,
            leave_out_sinks=given.leave_out_sinks,
            baselines=not given.no_baselines,
            batch_size=given.batch_size,
            on_progress=on_progress,
        )
    return found.to_json()


def collect(given: argparse.Namespace) -> dict[str, Any]:
    lm, sae = _lm_and_sae(given)
    path = Path(given.tokens)
    opened = sae_core.open_corpus(path) if path.is_dir() else None
    contexts, lengths = _contexts(given, lm)
    return collecting_command.run(given, lm, sae, contexts, lengths, None if opened is None else opened.pieces)


def lens(given: argparse.Namespace) -> dict[str, Any]:
    lm, sae = _lm_and_sae(given)
    if wrong := [each for each in given.latents if not 0 <= each < sae.n_latents]:
        raise sae_core.BadInput(f"latent {wrong[0]} does not exist: the SAE has 0 to {sae.n_latents - 1}")
    tops = sae_core.top_logits(lm, sae.W_dec[given.latents], sae.hookpoint_out, k=given.top)
    reads = _reads(lm, sae, given.latents, given.top)
    rows = []
    for row, latent in enumerate(given.latents):
        up = _tokens(lm, tops.top_ids[row], tops.top_values[row])
        down = _tokens(lm, tops.bottom_ids[row], tops.bottom_values[row])
        rows.append({"latent": latent, "up": up, "down": down} | ({"reads": reads[row]} if reads else {}))
        for name, listed in (("up", up), ("down", down), ("reads", rows[-1].get("reads", []))):
            print(
                f"{latent:>7} {name:>4}  {'  '.join(f'{text!r} {value:+.2f}' for text, value in listed)}",
                file=sys.stderr,
            )
    return {"hookpoint": sae.hookpoint_out, "latents": rows}


def _reads(lm: Any, sae: Any, latents: list[int], top: int) -> list[list[tuple[str, float]]]:
    """The lens the other way, for SAEs that read the residual stream; nothing for others."""
    with suppress(sae_core.BadInput):
        tops = sae_core.top_inputs(lm, sae.W_enc[:, latents], sae.hookpoint, k=top)
        return [_tokens(lm, ids, values) for ids, values in zip(tops.ids, tops.values, strict=True)]
    return []


def _tokens(lm: Any, ids: Any, values: Any) -> list[tuple[str, float]]:
    texts = (lm.tokenizer.decode([each]) if lm.tokenizer else str(each) for each in ids.tolist())
    return list(zip(texts, values.tolist(), strict=True))


def _lm_and_sae(given: argparse.Namespace) -> tuple[Any, Any]:
    lm = sae_core.load_lm(given.lm, device=given.device, dtype=given.dtype)
    sae = sae_core.untrained(given.sae, lm.width) or sae_core.load_sae(given.sae)
    if given.hookpoint:
        sae = sae.with_config(hookpoint=given.hookpoint)
    return lm, sae.to(lm.device)


def _contexts(given: argparse.Namespace, lm: Any) -> tuple[Any, Any]:
    """The contexts, and how much of each is real where that is known."""
    path = Path(given.tokens)
    if path.is_dir():
        opened = sae_core.open_corpus(path)
        if lm.tokenizer:
            opened.check_tokenizer(lm.tokenizer)
        return opened.contexts, opened.lengths
    return sae_core.tokens_from_npy(path, context_length=given.context_length, n_vocab=lm.n_vocab), None


if __name__ == "__main__":
    sys.exit(main())
