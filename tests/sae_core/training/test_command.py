"""`python -m sae_core train`: what it reads, what it writes, and what it says of both."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sae_core
from sae_core.__main__ import main
from sae_core.config import Family, Normalise
from sae_core.sae import Sae
from sae_core.training.command import LOG
from sae_core.training.config import CHECKPOINT, TRAINED, Precision, TrainConfig
from tests.sae_core import small_lms, small_tokenizers
from tests.sae_core.lettered import lines

pytestmark = pytest.mark.slow

X, Y = "blocks.1.hook_mlp_in_normed", "blocks.1.hook_mlp_out"
HOOKPOINT, CENTRE = "blocks.1.hook_resid_post", "ln_final.hook_normalized"
N_VOCAB, BOS = 400, 0
SIZES = ("--batch-size", 32, "--log-every", 4)
LM = ("--lm", "lm", "--tokens", "tokens.npy", "--hookpoint", HOOKPOINT, *SIZES)
FILE = ("--activations", "acts.npy", *SIZES)
TOPK = ("--family", "topk", "--k", 3, "--n-latents", 24)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An lm with its tokenizer, ids, a corpus, and activations with what follows upon them."""
    folder = tmp_path_factory.mktemp("place")
    small_lms.save_small_lm(folder / "lm", "gpt2", vocab_size=N_VOCAB, bos_token_id=BOS, eos_token_id=BOS)
    backend = small_tokenizers.gpt2_like(n_vocab=N_VOCAB)
    small_tokenizers.save(backend, folder / "lm", bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    rng = np.random.default_rng(0)
    np.save(folder / "tokens.npy", rng.integers(1, N_VOCAB, size=(30, 16)).astype(np.uint16))
    np.save(folder / "row.npy", rng.integers(1, N_VOCAB, size=480))
    lines(folder / "texts.jsonl", [each * times for each in small_tokenizers.TEXTS for times in (1, 2)])
    made = ("corpus", "--lm", "lm", "--text", "texts.jsonl", "--out", "corpus", "--context-length", "12", "--apart")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(list(made)) == 0
    acts = rng.standard_normal((600, 8)).astype(np.float32)
    np.save(folder / "acts.npy", acts)
    np.save(folder / "out.npy", (acts @ rng.standard_normal((8, 6))).astype(np.float32))
    np.save(folder / "flat.npy", np.ones((600, 8), np.float32))
    return folder


@pytest.fixture(autouse=True)
def _within(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def train(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What it says last; all that it says on standard output."""
    capsys.readouterr()
    assert main(["train", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    assert "token/s" not in said.err  # no bar: no terminal reads this
    (line,) = said.out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["train", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    *_, line = said.err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in said.err
    return line.removeprefix("error: ")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def same(sae: Sae, other: Sae) -> bool:
    return sae.config == other.config and all(
        torch.equal(each, other.tensors()[name]) for name, each in sae.tensors().items()
    )


# --- what comes of it


def test_an_sae_of_an_lm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The one that train_saes makes, which knows its place."""
    out = tmp_path / "deep" / "sae"
    said = train(capsys, *LM, *TOPK, "--out", out)
    assert sorted(each.name for each in out.iterdir()) == ["sae.json", "sae.safetensors", LOG]
    assert (said["out"], said["tokens"], said["steps"]) == (str(out), 480, 15)
    assert said["seconds"] > 0 < said["tokens_per_second"]
    found = sae_core.load_sae(out)
    config = found.config
    assert (config.family, config.n_latents, config.k, config.hookpoint) == ("topk", 24, 3, HOOKPOINT)
    assert (config.lm, config.context_length, config.prepend_bos, config.dtype) == ("lm", 16, False, "float32")
    source = sae_core.LmSource(sae_core.load_lm("lm"), np.load("tokens.npy"), HOOKPOINT)
    sizes = sae_core.Training(batch_size=32)
    (expected,) = sae_core.train_saes(source, [TrainConfig(Family.TOPK, 24, k=3)], sizes)
    assert all(torch.equal(each, found.tensors()[name]) for name, each in expected.tensors().items())

    told = rows(out)
    assert [each["step"] for each in told] == [4, 8, 12, 15]
    assert [each["tokens"] for each in told] == [128, 256, 384, 480]
    assert {each["steps"] for each in told} == {15}
    (last,) = told[-1]["saes"]
    assert last.keys() == {"loss", "l0", "fvu", "silent", "penalty"}
    assert said["saes"] == [{"folder": str(out), "n_latents": 24, "seed": 0, **last}]

    capsys.readouterr()
    assert main(["metrics", "--lm", "lm", "--sae", str(out), "--tokens", "tokens.npy", "--no-baselines"]) == 0
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert measured["l0"] <= 3
    assert measured["tokens"] == 480


FAMILIES: dict[str, tuple[object, ...]] = {
    "relu": ("--target-l0", 4, "--sparsity", "weighted", "--normalise", "layer_norm"),
    "topk": ("--k", 3, "--aux-k", 2, "--aux-weight", 0.1, "--dead-after", 64),
    "batchtopk": ("--k", 3, "--precision", "float32", "--seed", 7),
    "matryoshka": ("--k", 3, "--prefixes", 4, 24),
    "jumprelu": ("--l0", 2, "--bandwidth", 0.1, "--threshold", 0.2, "--sparsity-warmup", 0.5),
    "gated": ("--l1", 2, "--learning-rate", 1e-3, "--warmup", 0.1, "--decay", 0.5),
}
CONFIGS = {
    "relu": TrainConfig(Family.RELU, 24, target_l0=4.0, normalise=Normalise.LAYER_NORM),
    "topk": TrainConfig(Family.TOPK, 24, k=3, aux_k=2, aux_weight=0.1, dead_after=64),
    "batchtopk": TrainConfig(Family.BATCHTOPK, 24, k=3, precision=Precision.FLOAT32, seed=7),
    "matryoshka": TrainConfig(Family.MATRYOSHKA, 24, k=3, prefixes=(4, 24)),
    "jumprelu": TrainConfig(Family.JUMPRELU, 24, l0=2.0, bandwidth=0.1, threshold=0.2, sparsity_warmup=0.5),
    "gated": TrainConfig(Family.GATED, 24, l1=2.0, learning_rate=1e-3, warmup=0.1, decay=0.5),
}


@pytest.mark.parametrize("family", [str(each) for each in TRAINED])
def test_every_family_from_a_file_with_its_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, family: str
) -> None:
    given = (*FILE, "--hookpoint", HOOKPOINT, "--buffer-tokens", 632, "--train-tokens", 1500, "--device", "cpu")
    said = train(capsys, *given, "--family", family, "--n-latents", 24, *FAMILIES[family], "--out", tmp_path)
    assert (said["steps"], said["tokens"]) == (46, 1472)
    found = sae_core.load_sae(tmp_path)
    assert (found.config.family, found.config.hookpoint, found.config.lm) == (family, HOOKPOINT, "")
    sizes = sae_core.Training(tokens=1500, batch_size=32, buffer_tokens=632)
    (expected,) = sae_core.train_saes(sae_core.FileSource("acts.npy"), [CONFIGS[family]], sizes)
    assert all(torch.equal(each, found.tensors()[name]) for name, each in expected.tensors().items())


def test_every_size_and_every_seed_has_its_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    several, alone = tmp_path / "several", tmp_path / "alone"
    said = train(
        capsys, *FILE, "--family", "topk", "--k", 3, "--n-latents", 24, 16, "--seed", 0, 5, "--out", several
    )  # fmt: skip
    names = ["topk-16-0", "topk-16-5", "topk-24-0", "topk-24-5"]
    assert sorted(each.name for each in several.iterdir()) == [*names, LOG]
    told = [(each["folder"], each["n_latents"], each["seed"]) for each in said["saes"]]
    assert sorted(told) == [(str(several / name), int(name[5:7]), int(name[8])) for name in names]
    train(capsys, *FILE, "--family", "topk", "--k", 3, "--n-latents", 16, "--seed", 5, "--out", alone)
    assert same(sae_core.load_sae(alone), sae_core.load_sae(several / "topk-16-5"))
    assert all(len(each["saes"]) == 4 for each in rows(several))


def test_a_corpus_says_what_counts_and_whether_it_begins_with_bos(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    corpus = sae_core.open_corpus("corpus")
    given = ("--lm", "lm", "--tokens", "corpus", *SIZES, *TOPK, "--train-tokens", 320)
    train(
        capsys, *given, "--hookpoint", X, "--hookpoint-out", Y, "--skip", "--out", tmp_path / "a", "--dtype", "float64"
    )
    config = sae_core.load_sae(tmp_path / "a").config
    assert (config.hookpoint, config.hookpoint_out, config.transcoder) == (X, Y, True)
    assert (config.context_length, config.prepend_bos, config.dtype) == (12, True, "float64")
    assert sae_core.load_sae(tmp_path / "a").W_skip is not None
    all_of_them = (*given[:-2], "--hookpoint", HOOKPOINT)
    counted = int((corpus.contexts != BOS).sum())
    said = train(capsys, *all_of_them, "--out", tmp_path / "b")
    assert said["tokens"] == counted // 32 * 32
    said = train(capsys, *all_of_them, "--mask-ids", "--out", tmp_path / "c")
    assert corpus.lengths is not None
    assert corpus.lengths.sum() < corpus.contexts.size - 32
    assert said["tokens"] == corpus.lengths.sum() // 32 * 32


def test_a_transcoder_from_two_files_knows_both_places(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = (*FILE, *TOPK, "--activations-out", "out.npy")
    train(capsys, *given, "--hookpoint", X, "--hookpoint-out", Y, "--out", tmp_path / "a")
    found = sae_core.load_sae(tmp_path / "a")
    assert (found.config.hookpoint, found.config.hookpoint_out) == (X, Y)
    assert (found.config.d_in, found.config.d_out) == (8, 6)
    train(capsys, *given, "--out", tmp_path / "b")
    assert sae_core.load_sae(tmp_path / "b").config.hookpoint == ""


def test_what_does_not_vary_has_no_fvu_and_the_json_is_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(name)

    capsys.readouterr()
    main([str(each) for each in ("train", "--activations", "flat.npy", *SIZES, *TOPK, "--out", tmp_path)])
    lines = [*capsys.readouterr().out.splitlines(), *(tmp_path / LOG).read_text().splitlines()]
    told = [json.loads(line, parse_constant=no_constant) for line in lines]
    assert [each["saes"][0]["fvu"] for each in told] == [None] * len(told)


# --- in a process of its own


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sae_core", "train", *map(str, arguments)]


def test_killed_and_gone_on_with_it_ends_at_the_same_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    long = (*FILE, *TOPK, "--n-latents", 24, 30, "--train-tokens", 32 * 900, "--checkpoint-every", 30)
    out, names = tmp_path / "killed", ("topk-24-0", "topk-30-0")
    process = subprocess.Popen(command(*long, "--out", out), env=environment(), stderr=subprocess.PIPE)
    while not (out / CHECKPOINT).exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert process.poll() is None
    process.kill()
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert said == b""  # no bar: it is a pipe
    assert not any((out / name).exists() for name in names)
    with (out / LOG).open("a") as log:
        log.write('{"step": 880, "steps": 900}\n{"step": 884, "ste')  # further than its checkpoint, and torn

    assert "holds a training that came to step" in refused(capsys, *long, "--out", out)
    assert "SAE 1's k was 3 and is 4 here" in refused(capsys, *long, "--k", 4, "--out", out, "--resume")
    before = rows_of_whole_lines(out)
    assert 884 not in before
    assert before[-1] == 880
    train(capsys, *long, "--out", out, "--resume")
    straight = tmp_path / "straight"
    train(capsys, *long, "--out", straight)
    for name in names:
        assert (out / name / "sae.safetensors").read_bytes() == (straight / name / "sae.safetensors").read_bytes()
    assert sorted(each.name for each in out.iterdir()) == [*names, LOG]
    assert [each["step"] for each in rows(out)] == [*range(4, 901, 4)]
    assert [each["saes"] for each in rows(out)] == [each["saes"] for each in rows(straight)]
    assert "topk-24-0: holds an SAE already; name another folder" in refused(capsys, *long, "--out", out, "--resume")


def rows_of_whole_lines(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines() if line.endswith("}")]


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = subprocess.Popen(
        command(*FILE, *TOPK, "--out", tmp_path), env=environment(), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # what reading a terminal ends with that nobody has open
        while read := os.read(ours, 4096):
            shown += read
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    last = json.loads(out.decode().splitlines()[-1])
    report = last["saes"][0]
    *_, bar = filter(str.strip, shown.decode().split("\r"))
    assert bar.startswith("100%")
    assert "| 576/576 [" in bar
    assert f"L0 {report['l0']:.1f}, FVU {report['fvu']:.3f}, silent {report['silent']}]" in bar


def test_help_says_every_option_and_loads_no_torch() -> None:
    code = (
        "import sys; from contextlib import suppress; from sae_core.__main__ import main\n"
        "with suppress(SystemExit): main(['train', '--help'])\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout.endswith("\nset()\n")
    settable = {each.name for each in fields(TrainConfig)} - {
        "transcoder", "resample_at", "resample_window", "threshold_decay",
    }  # fmt: skip
    sources = {"lm", "tokens", "hookpoint", "hookpoint_out", "activations", "activations_out"}
    sources |= {"context_length", "mask_ids", "device", "dtype"}
    how = {"out", "train_tokens", "batch_size", "buffer_tokens", "log_every", "checkpoint_every", "resume"}
    said = done.stdout.partition("\n\n")[2]  # after the usage
    for name in settable | sources | how:
        assert f"\n  --{name.replace('_', '-')}" in said


# --- what it refuses


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((*FILE, "--lm", "lm"), "--lm says nothing beside --activations"),
        ((*FILE, "--tokens", "tokens.npy"), "--tokens says nothing beside --activations"),
        ((*FILE, "--dtype", "float32"), "--dtype says nothing beside --activations"),
        ((*FILE, "--hookpoint-out", Y), "--hookpoint-out says nothing beside --activations without --activations-out"),
        ((*FILE, "--hookpoint", X, "--activations-out", "out.npy"), "say with --hookpoint-out what it reconstructs"),
        ((*LM, "--activations-out", "out.npy"), "--activations-out says nothing beside --lm"),
        (LM[:4], "--hookpoint missing: give --lm, --tokens and --hookpoint, or --activations"),
        ((), "--lm, --tokens, --hookpoint missing"),
        ((*LM, "--hookpoint", "blocks.9.hook_resid_post"), "3 layers"),
        ((*LM, "--hookpoint-out", HOOKPOINT), "the source has one hookpoint: an SAE needs one, a transcoder two"),
        ((*LM, "--tokens", "row.npy"), "row.npy: one row of 480 ids; say how long a context is (context_length)"),
        ((*LM, "--tokens", "nowhere.npy"), "nowhere.npy: missing"),
        ((*LM, "--device", "abacus"), "there is no device 'abacus' here"),
        ((*FILE, "--activations", "tokens.npy"), "tokens.npy: uint16, expected floating point"),
        ((*FILE, "--skip"), "skip connections are for transcoders"),
        ((*FILE, "--k", 25), "k is 25, expected a whole number from 1 to 24"),
        ((*FILE, "--prefixes", 4, 24), "nested prefixes exist with matryoshka alone, not with topk"),
        ((*FILE, "--n-latents", 0), "n_latents is 0, expected a whole number above 0"),
        ((*FILE, "--n-latents", 24, 24), "a size or a seed is named twice"),
        ((*FILE, "--seed", 1, 2, 1), "a size or a seed is named twice"),
        ((*FILE, "--batch-size", 601), "there are 600 tokens that count, which is less than one batch of 601"),
        ((*FILE, "--resume"), "missing; there is no training in"),
        ((*FILE, "--learning-rate", 1e30), "no checkpoint was written. Is the learning rate, 1e+30, too high?"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, given: tuple[object, ...], says: str
) -> None:
    out = tmp_path / "out"
    assert says in refused(capsys, *TOPK, *given, "--out", out)
    assert not out.exists() or [each.name for each in out.iterdir()] in ([], [LOG])


@pytest.mark.parametrize("without", ["--family", "--n-latents", "--out"])
def test_what_it_always_needs(capsys: pytest.CaptureFixture[str], without: str) -> None:
    given = {"--activations": "acts.npy", "--family": "relu", "--n-latents": "8", "--out": "nowhere"}
    del given[without]
    with pytest.raises(SystemExit, match="2"):
        main(["train", *(each for pair in given.items() for each in pair)])
    assert f"error: the following arguments are required: {without}" in capsys.readouterr().err


def test_a_file_where_the_folder_should_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'}: cannot be written (" in refused(capsys, *FILE, *TOPK, "--out", tmp_path / "file")


def test_a_death_among_the_saes_keeps_the_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The second SAE cannot be written; once it can, the training goes on, though the first is there."""
    several = (*FILE, *TOPK, "--seed", 0, 1, "--checkpoint-every", 5, "--out", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "topk-24-1").touch()
    assert "topk-24-1: cannot be written (" in refused(capsys, *several)
    assert (tmp_path / "out" / "topk-24-0" / "sae.json").exists()
    assert (tmp_path / "out" / CHECKPOINT).exists()
    (tmp_path / "out" / "topk-24-1").unlink()
    train(capsys, *several, "--resume")
    train(capsys, *several[:-1], tmp_path / "other")
    for name in ("topk-24-0", "topk-24-1"):
        assert same(sae_core.load_sae(tmp_path / "out" / name), sae_core.load_sae(tmp_path / "other" / name))
    assert not (tmp_path / "out" / CHECKPOINT).exists()
    assert "holds an SAE already" in refused(capsys, *several)


def test_a_log_is_of_one_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"step": 4, "of": "another"}\n')
    train(capsys, *FILE, *TOPK, "--out", tmp_path)
    assert [each["step"] for each in rows(tmp_path)] == [4, 8, 12, 16, 18]
    assert "of" not in rows(tmp_path)[0]
