"""The bundle that is committed: what everybody sees first."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from making.lms import RECIPES
from making.saes import GROUPS
from safetensors.torch import load_file

import sae_core

DEMO = Path(__file__).resolve().parents[2] / "demo"
MOST_BYTES = 48_000_000
LMS = sorted({name.removesuffix("-on") for name in RECIPES} | {"one-layer-untrained"})
SAES = [(group.lm, group.hookpoint, name, config) for group in GROUPS.values() for name, config in group.saes.items()]


@pytest.fixture(scope="module")
def corpus() -> sae_core.Corpus:
    return sae_core.open_corpus(DEMO / "corpus", check_hash=True)


def test_it_is_small_enough_to_clone() -> None:
    files = [each for each in DEMO.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
    assert sum(each.stat().st_size for each in files) <= MOST_BYTES


def test_everything_in_it_is_told_of() -> None:
    assert sorted(each.name for each in (DEMO / "lms").iterdir()) == LMS
    assert sorted(each.name for each in (DEMO / "saes").iterdir()) == sorted(name for _, _, name, _ in SAES)
    readme = (DEMO / "README.md").read_text(encoding="utf-8")
    for name in (*(f"lms/{each}" for each in LMS), *(f"saes/{name}" for _, _, name, _ in SAES)):
        assert f"`{name}`" in readme


def test_weights_are_float16_safetensors() -> None:
    weights = list(DEMO.rglob("*.safetensors"))
    assert len(weights) == len(LMS) + len(SAES)
    for path in weights:
        assert {each.dtype for each in load_file(path).values()} == {torch.float16}
    assert not list(DEMO.rglob("*.bin")) + list(DEMO.rglob("*.pt"))


def test_the_held_out_text(corpus: sae_core.Corpus) -> None:
    assert 1_000_000 <= corpus.config.tokens <= 2_000_000
    assert corpus.config.context_length == 128
    sources = {corpus.document(index).name.split("/")[0] for index in range(corpus.config.documents)}
    assert {"python", "python-docs", "django", "django-docs", "django-locale"} <= sources


@pytest.mark.parametrize("name", LMS)
def test_every_lm_reads_it(name: str, corpus: sae_core.Corpus) -> None:
    """And those that were trained have learned from text like it."""
    lm = sae_core.load_lm(DEMO / "lms" / name)
    assert lm.tokenizer is not None
    corpus.check_tokenizer(lm.tokenizer)
    assert 4000 <= lm.n_vocab <= 4200
    ids = torch.from_numpy(corpus.contexts[:: len(corpus.contexts) // 32][:32].astype(np.int64))
    logits = lm.logits(ids)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()
    guessing = float(np.log(lm.n_vocab))
    most = {"deep": 2.9, "one-layer": 3.9, "attention-only": 5.2, "one-layer-untrained": guessing + 0.5}[name]
    assert loss < most
    if name == "one-layer-untrained":
        assert loss > guessing - 0.2


@pytest.mark.parametrize(("lm_name", "hookpoint", "name", "config"), SAES, ids=[each[2] for each in SAES])
def test_every_sae_fits_its_lm(
    lm_name: str, hookpoint: str, name: str, config: sae_core.TrainConfig, corpus: sae_core.Corpus
) -> None:
    lm, sae = sae_core.load_lm(DEMO / "lms" / lm_name), sae_core.load_sae(DEMO / "saes" / name)
    assert (sae.config.family, sae.n_latents, sae.hookpoint) == (config.family, config.n_latents, hookpoint)
    assert (sae.config.lm, sae.config.context_length, sae.config.prepend_bos) == (lm_name, 128, True)
    found = sae_core.check_fit(lm, sae, corpus.contexts)
    assert found.better is None
    wanted = config.k or config.target_l0
    assert found.as_it_is.l0 == pytest.approx(wanted, rel=0.4)
    assert found.as_it_is.fvu < 0.45


@pytest.fixture(scope="module")
def said() -> dict[str, dict[int, str]]:
    labels = json.loads((DEMO / "labels.json").read_text(encoding="utf-8"))["labels"]
    return {name: {int(index): label for index, label in of_sae.items()} for name, of_sae in labels.items()}


def test_some_features_are_named_and_the_list_is_of_them(said: dict[str, dict[int, str]]) -> None:
    assert len(said) >= 3
    assert sum(map(len, said.values())) >= 20
    entries = json.loads((DEMO / "labels.json").read_text(encoding="utf-8"))["list"]["entries"]
    places = [(each["sae"], each["index"]) for each in entries]
    assert len(set(places)) == len(places)
    assert set(places) <= {(name, index) for name, of_sae in said.items() for index in of_sae}


@pytest.mark.slow
def test_features_fire_on_what_they_are_named_after(said: dict[str, dict[int, str]], corpus: sae_core.Corpus) -> None:
    """Every label's feature fires, and most strongly on a token that its label quotes, where it quotes any."""
    ids = torch.from_numpy(corpus.contexts[::32].astype(np.int64))
    for name, of_sae in said.items():
        sae = sae_core.load_sae(DEMO / "saes" / name)
        lm = sae_core.load_lm(DEMO / "lms" / str(sae.config.lm))
        assert lm.tokenizer
        indexes = torch.tensor(list(of_sae))
        acts = torch.cat(
            [
                sae.encode(lm.activations(ids[at : at + 64], sae.hookpoint).flatten(0, 1))
                for at in range(0, len(ids), 64)
            ]
        )[:, indexes]
        acts[ids.flatten() == lm.tokenizer.bos_id] = 0
        best, place = acts.max(0)
        for label, value, token in zip(of_sae.values(), best, ids.flatten()[place], strict=True):
            assert value > 0, (name, label)
            text = lm.tokenizer.token_bytes(int(token)).decode(errors="replace").strip()
            quoted = [each.strip() for each in re.findall("“(.*?)”", label)]
            assert not quoted or any(text in each for each in quoted), (name, label, text)
