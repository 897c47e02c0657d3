"""`python -m sae_core collect`: what it reads, what it writes, and what it says of both."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import sae_core
from sae_core.__main__ import main
from sae_core.array_files import ArrayFile
from sae_core.config import Family
from tests.sae_core import small_lms, small_tokenizers
from tests.sae_core.collecting.agreement import same_evidence
from tests.sae_core.collecting.made import HOOKPOINT, NEURONS, made_sae
from tests.sae_core.lettered import lines

N_VOCAB, BOS = 400, 0
EVIDENCE = "evidence.safetensors"
GIVEN = ("--lm", "lm", "--sae", "sae", "--tokens", "tokens.npy", "--out", "out")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An lm with its tokenizer, an SAE, ids, and a corpus."""
    folder = tmp_path_factory.mktemp("place")
    small_lms.save_small_lm(folder / "lm", "gpt2", vocab_size=N_VOCAB, bos_token_id=BOS, eos_token_id=BOS)
    backend = small_tokenizers.gpt2_like(n_vocab=N_VOCAB)
    small_tokenizers.save(backend, folder / "lm", bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    sae_core.save_sae(made_sae(Family.TOPK).float(), folder / "sae")
    ids = np.random.default_rng(0).integers(1, N_VOCAB, size=(30, 16)).astype(np.uint16)
    ids[:, 0] = BOS
    np.save(folder / "tokens.npy", ids)
    np.save(folder / "row.npy", ids.ravel().astype(np.int32))
    lines(folder / "texts.jsonl", [each * times for each in small_tokenizers.TEXTS for times in (1, 2)])
    made = ("corpus", "--lm", "lm", "--text", "texts.jsonl", "--out", "corpus", "--context-length", "12")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(list(made)) == 0
    return folder


@pytest.fixture(autouse=True)
def _within(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def collect(capsys: pytest.CaptureFixture[str], *others: object, given: tuple[str, ...] = GIVEN) -> dict[str, Any]:
    """What its last line says; where an argument comes twice the later one holds."""
    assert main(["collect", *given, *map(str, others)]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return said


def refused(capsys: pytest.CaptureFixture[str], *others: object) -> str:
    assert main(["collect", *GIVEN, *map(str, others)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    return error


def test_the_contract(place: Path) -> None:
    """As anybody calls it: its last line is JSON, and any reader of safetensors reads what it writes."""
    done = subprocess.run(
        [sys.executable, "-m", "sae_core", "collect", *GIVEN, "--out", "called/deep"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    numbers = {name: said[name] for name in ("tokens", "latents", "seconds_pass", "seconds", "tokens_per_second")}
    assert (numbers["tokens"], numbers["latents"]) == (30 * 15, 23)  # without each bos
    assert 0 < numbers["seconds_pass"] <= numbers["seconds"]
    assert numbers["tokens_per_second"] == pytest.approx(450 / numbers["seconds_pass"])
    assert 1 << 25 < said["peak_memory_bytes"] < 1 << 35
    assert said["mask_ids"] == [BOS]
    assert said["masked"] == 30
    assert [each.name for each in (place / "called" / "deep").iterdir()] == [EVIDENCE]
    arrays = load_file(place / "called" / "deep" / EVIDENCE)
    expected = {
        "n_fired": (np.int64, (23,)),
        "max_act": (np.float32, (23,)),
        "sum_act": (np.float64, (23,)),
        "top_act": (np.float32, (23, 20)),
        "top_context": (np.int64, (23, 20)),
        "top_position": (np.int64, (23, 20)),
    }
    assert {name: (arrays[name].dtype, arrays[name].shape) for name in expected} == expected
    assert arrays["n_fired"].sum() <= 450 * 3
    missing = arrays["top_context"] < 0
    assert (np.diff(arrays["top_act"]) <= 0).all()
    assert (arrays["top_act"][missing] == 0).all()
    assert (arrays["top_position"][missing] == -1).all()
    assert (arrays["top_position"][~missing] > 0).all()  # never at the bos
    assert (arrays["top_act"][:, 0] == arrays["max_act"]).all()
    assert ArrayFile(place / "called" / "deep" / EVIDENCE).about == {
        name: said[name] for name in ArrayFile(place / "called" / "deep" / EVIDENCE).about
    }


def test_its_arguments_are_those_of_the_function(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    said = collect(capsys, "--top-k", 3, "--mask-ids", 7, 9, "--batch-size", 4, "--dtype", "bfloat16")
    assert (said["top_k"], said["mask_ids"], said["batch_contexts"], said["dtype"]) == (3, [7, 9], 4, "bfloat16")
    assert (said["device"], said["lm"], said["hookpoint"], said["out"]) == ("cpu", "lm", HOOKPOINT, f"out/{EVIDENCE}")
    ids = np.load(place / "tokens.npy")
    assert said["masked"] == np.isin(ids, (7, 9)).sum()
    lm, sae = sae_core.load_lm(place / "lm", dtype="bfloat16"), sae_core.load_sae(place / "sae")
    config = sae_core.CollectConfig(top_k=3, mask_ids=(7, 9), batch_contexts=4)
    (about,) = sae_core.collect_evidence(lm, [sae], ids, [place / "function"], config)
    same_evidence(ArrayFile(place / "out" / EVIDENCE), ArrayFile(place / "function"))
    assert about == {name: said[name] for name in about}


def test_no_id_is_masked_where_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = collect(capsys, "--mask-ids")
    assert (said["masked"], said["mask_ids"], said["tokens"]) == (0, [], 480)


def test_one_row_of_ids_is_cut(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    collect(capsys)
    before = (place / "out" / EVIDENCE).read_bytes()
    collect(capsys, "--tokens", "row.npy", "--context-length", 16)
    assert (place / "out" / EVIDENCE).read_bytes() == before
    assert "say how long a context is" in refused(capsys, "--tokens", "row.npy")


def test_a_corpus_knows_its_padding_and_documents(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    said = collect(capsys, "--tokens", "corpus")
    corpus = sae_core.open_corpus(place / "corpus")
    ids = np.asarray(corpus.contexts).astype(np.int64)
    there = np.arange(ids.shape[1]) < corpus.lengths[:, None]
    counted = there & (ids != BOS)
    assert (said["tokens"], said["masked"]) == (counted.sum(), (~counted).sum())
    file = ArrayFile(place / "out" / EVIDENCE)
    lm, sae = sae_core.load_lm(place / "lm"), sae_core.load_sae(place / "sae")
    fired = sae.encode(lm.activations(ids, HOOKPOINT).flatten(0, 1)).reshape(*ids.shape, -1).numpy() != 0
    for latent in range(sae.n_latents):
        places = np.argwhere(fired[:, :, latent] & counted).tolist()
        assert file["n_fired"][latent] == len(places)
        assert file["n_documents"][latent] == len({corpus.document_of(*each) for each in places})


def test_baselines_are_collected_as_saes_are(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    said = collect(capsys, "--sae", f"neurons:{NEURONS}")
    file = ArrayFile(place / "out" / EVIDENCE)
    assert said["latents"] == small_lms.D_MLP
    assert file["correlated_neuron"][:, 0].tolist() == list(range(small_lms.D_MLP))
    said = collect(capsys, "--sae", f"random:{HOOKPOINT}:50:3")
    assert (said["latents"], said["hookpoint"]) == (50, HOOKPOINT)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--sae", "nowhere"), "error: nowhere"),
        (("--tokens", "nowhere.npy"), "error: nowhere.npy: missing"),
        (("--top-k", 0), "error: top_k is 0, expected at least 1"),
        (("--batch-size", 0), "error: batch_contexts is 0, expected at least 1"),
        (("--hookpoint", "blocks.9.hook_resid_post"), "error: blocks.9.hook_resid_post: this gpt2 has 3 layers"),
        (("--out", "tokens.npy"), "error: tokens.npy: nothing can be written there (File exists)"),
    ],
)
def test_what_cannot_be_collected(capsys: pytest.CaptureFixture[str], given: tuple[object, ...], says: str) -> None:
    assert refused(capsys, *given).splitlines()[-1].startswith(says)
