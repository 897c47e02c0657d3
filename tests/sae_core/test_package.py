"""The front door: the example of the docstring, word for word, and every command of the command line."""

import doctest
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sae_core
from sae_core.__main__ import main
from sae_core.config import Family, SaeConfig
from sae_core.formats import load_sae, save_sae
from sae_core.lm import load_lm
from sae_core.sae import Sae
from tests.sae_core import small_lms, small_tokenizers

HOOKPOINT = "blocks.1.hook_resid_post"
N_VOCAB = 400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example finds: an lm with its tokenizer, an SAE of its middle layer, and some text."""
    folder = tmp_path_factory.mktemp("place")
    small_lms.save_small_lm(
        folder / "lm", "gpt2", vocab_size=N_VOCAB, bos_token_id=0, eos_token_id=0, tie_word_embeddings=False
    )
    backend = small_tokenizers.gpt2_like(n_vocab=N_VOCAB)
    small_tokenizers.save(backend, folder / "lm", bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    (folder / "texts").mkdir()
    for name, times in (("a.txt", 3), ("b.txt", 5)):
        (folder / "texts" / name).write_text("".join(small_tokenizers.TEXTS[:4]) * times)
    lm = load_lm(folder / "lm")
    assert lm.tokenizer is not None
    ids = lm.tokenizer.encode("".join(small_tokenizers.TEXTS[:4]) * 3)[: 24 * 8]
    x = lm.activations(np.array(ids).reshape(8, 24), HOOKPOINT).flatten(0, 1)
    _, _, axes = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    directions = torch.cat([axes, -axes])  # 32 that fit, and 32 that never fire
    rows = torch.cat([directions, directions])
    b_enc = torch.cat([torch.zeros(32), torch.full((32,), -1e6)])
    config = SaeConfig(Family.TOPK, d_in=16, n_latents=64, k=4, hookpoint=HOOKPOINT, subtract_b_dec=True)
    tensors = {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": b_enc, "b_dec": x.mean(0)}
    save_sae(Sae(config, tensors), folder / "sae")
    np.save(folder / "tokens.npy", np.random.default_rng(0).integers(1, N_VOCAB, size=(20, 24)).astype(np.uint16))
    np.save(folder / "row.npy", np.arange(1, 49))
    return folder


def test_the_docstrings_example_works_as_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    runner = doctest.DocTestRunner()
    (example,) = doctest.DocTestFinder(recurse=False).find(sae_core, "sae_core")
    assert len(example.examples) > 20
    said: list[str] = []
    runner.run(example, out=said.append)
    assert not said, "".join(said)


def test_all_names_are_there_and_known_to_type_checkers() -> None:
    for name in sae_core.__all__:
        assert not isinstance(getattr(sae_core, name), types.ModuleType)
    assert set(sae_core.__all__) <= set(dir(sae_core))
    source = Path(str(sae_core.__file__)).read_text()
    typed = source.partition("if TYPE_CHECKING:")[2].partition("\n__all__")[0]
    listed = [
        name.strip()
        for line in typed.splitlines()
        if " import " in line
        for name in line.partition(" import ")[2].split(",")
    ]
    assert sorted(listed) == sorted(sae_core.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = sae_core.load_model


def test_an_sae_alone_needs_no_transformers() -> None:
    code = "import sys, sae_core; sae_core.load_sae; print({'torch', 'transformers'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "{'torch'}"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main([str(each) for each in arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_help_reads_well_and_at_once() -> None:
    """Nothing heavy is loaded for it."""
    code = "import sys, sae_core.__main__ as cli; print(cli.parser().format_help(), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.endswith(" False\n")
    for command in ("show", "convert", "corpus", "train", "fit", "metrics", "lens"):
        assert f"\n    {command} " in said
        assert f"python -m sae_core {command}" in said
    assert max(map(len, said.splitlines())) <= 120


def test_metrics(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "metrics", "--lm", place / "lm", "--sae", place / "sae", "--tokens", place / "tokens.npy")
    expected = sae_core.measure(load_lm(place / "lm"), load_sae(place / "sae"), np.load(place / "tokens.npy"))
    assert found == json.loads(json.dumps(expected.to_json()))
    assert {"l0", "fvu", "dead", "ce_clean", "ce_sae", "ce_zero", "ce_mean", "loss_recovered"} <= found.keys()
    assert found["dead"] >= 32
    assert (found["contexts"], found["tokens"]) == (20, 480)


def test_metrics_of_a_corpus_and_of_controls(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = run(
        capsys,
        "corpus",
        "--lm",
        place / "lm",
        "--text",
        place / "texts",
        "--out",
        tmp_path / "corpus",
        "--context-length",
        24,
        "--apart",
    )
    assert (made["documents"], made["context_length"], made["packing"], made["prepend_bos"]) == (2, 24, "apart", True)
    lm = ("--lm", place / "lm", "--tokens", tmp_path / "corpus", "--no-baselines")
    trained = run(capsys, "metrics", "--sae", place / "sae", *lm)
    assert trained["baselines"] == {}
    assert trained["masked"] > made["contexts"]  # bos, and padding at the end of a document
    neurons = run(capsys, "metrics", "--sae", "neurons:blocks.1.mlp.hook_post", *lm)
    assert neurons["l0"] <= small_lms.D_MLP
    control = run(capsys, "metrics", "--sae", f"random:{HOOKPOINT}:64:3", *lm)
    assert control["fvu"] > trained["fvu"]
    elsewhere = run(capsys, "metrics", "--sae", place / "sae", "--hookpoint", "blocks.0.hook_resid_pre", *lm)
    assert elsewhere["fvu"] != trained["fvu"]
    contexts = np.load(tmp_path / "corpus" / "contexts.npy")
    common = int(np.bincount(contexts[contexts > 0]).argmax())
    masked = run(capsys, "metrics", "--sae", place / "sae", *lm, "--mask-ids", 0, common)
    assert masked["tokens"] == trained["tokens"] - int((contexts == common).sum())


def test_fit_lens_show_and_convert(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    both = ("--lm", place / "lm", "--sae", place / "sae")
    fit = run(capsys, "fit", *both, "--tokens", place / "row.npy", "--context-length", 24)
    assert fit["as_it_is"]["l0"] == 4
    lens = run(capsys, "lens", *both, "--latents", 3, 0, "--top", 4)
    assert [each["latent"] for each in lens["latents"]] == [3, 0]
    lm, sae = load_lm(place / "lm"), load_sae(place / "sae")
    tops = sae_core.top_logits(lm, sae.W_dec[[3]], HOOKPOINT, k=4)
    assert lm.tokenizer is not None
    expected = [
        [lm.tokenizer.decode([token]), value]
        for token, value in zip(tops.top_ids[0].tolist(), tops.top_values[0].tolist(), strict=True)
    ]
    assert [text for text, _ in lens["latents"][0]["up"]] == [text for text, _ in expected]
    assert [value for _, value in lens["latents"][0]["up"]] == pytest.approx([value for _, value in expected])
    reads = sae_core.top_inputs(lm, sae.W_enc[:, [3]], HOOKPOINT, k=4)
    assert [value for _, value in lens["latents"][0]["reads"]] == pytest.approx(reads.values[0].tolist(), rel=1e-5)
    elsewhere = run(capsys, "lens", "--lm", place / "lm", "--sae", "neurons:blocks.0.mlp.hook_post", "--latents", 1)
    assert "reads" not in elsewhere["latents"][0]
    shown = run(capsys, "show", place / "sae")
    assert (shown["family"], shown["k"], shown["tensors"]["W_enc"]) == ("topk", 4, [16, 64])
    converted = run(capsys, "convert", place / "sae", tmp_path / "lens", "--format", "saelens")
    assert converted["files"] == ["cfg.json", "sae_weights.safetensors"]
    assert run(capsys, "show", tmp_path / "lens")["source"] == "SAELens"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "missing"], "missing: there is no such file or folder"),
        (["lens", "--lm", "lm", "--sae", "sae", "--latents", "64"], "latent 64 does not exist: the SAE has 0 to 63"),
        (["metrics", "--lm", "lm", "--sae", "sae", "--tokens", "row.npy"], "context_length"),
        (["metrics", "--lm", "lm", "--sae", "neurons:blocks.9.hook_mlp_out", "--tokens", "tokens.npy"], "3 layers"),
        (
            ["metrics", "--lm", "lm", "--sae", "random:blocks.1.hook_mlp_out:x", "--tokens", "tokens.npy"],
            "random:HOOKPOINT",
        ),
        (["corpus", "--lm", "sae", "--text", "texts", "--out", "x"], "there is no tokenizer"),
        (["fit", "--lm", "lm", "--sae", "sae", "--tokens", "tokens.npy", "--device", "abacus"], "abacus"),
        (["convert", "sae", "sae", "--format", "saelens"], "holds an SAE of sae_core already"),
    ],
)
def test_what_is_wrong_is_one_line_and_not_a_traceback(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(place)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_from_the_shell(place: Path) -> None:
    """Real arguments, a real exit status, notes where they belong, and the JSON last."""
    command = [sys.executable, "-m", "sae_core", "metrics", "--lm", "lm", "--sae", "sae", "--tokens", "tokens.npy"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, env=_environment())
    assert json.loads(done.stdout.splitlines()[-1])["tokens"] == 480
    command = [sys.executable, "-m", "sae_core", "show", "missing"]
    failed = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=_environment())
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_a_corpus_of_another_tokenizer_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small_tokenizers.save(small_tokenizers.llama2_like(), tmp_path / "other")
    made = ("--text", place / "texts", "--out", tmp_path / "corpus")
    run(capsys, "corpus", "--lm", tmp_path / "other", *made)
    arguments = ("metrics", "--lm", place / "lm", "--sae", place / "sae", "--tokens", tmp_path / "corpus")
    assert main([str(each) for each in arguments]) == 2
    assert "its tokens were made by the tokenizer other, and lm is another" in capsys.readouterr().err
