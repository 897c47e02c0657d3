"""An SAE with features to look at: read once a session, loaded into rows for every test that takes `explored`."""

import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer import artifacts, vocabulary
from explorer.models import Collection, Corpus, Sae
from explorer.work.loading import load_collection, load_corpus
from sae_core import build_corpus, collect_evidence, save_sae
from sae_core.lm import Lm
from sae_core.sae import Sae as CoreSae
from tests.work.collected import sae_row, small_lm, small_sae, texts

SILENT = 3  # of small_sae: it never fires


@dataclass(frozen=True)
class Read:
    lm: Lm
    sae: CoreSae
    corpus: Path
    evidence: Path


@dataclass(frozen=True)
class Explored:
    sae: Sae
    corpus: Corpus
    collection: Collection
    read: Read

    @property
    def page(self) -> str:
        return f"/saes/{self.sae.slug}/"


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    folder = tmp_path_factory.mktemp("read")
    lm, sae = small_lm(folder / "lm"), small_sae()
    opened = build_corpus([texts(folder / "texts")], lm.tokenizer, folder / "corpus", context_length=16)
    evidence = folder / "evidence.safetensors"
    collect_evidence(lm, [sae], opened.contexts, [evidence], lengths=opened.lengths, pieces=opened.pieces)
    return Read(lm, sae, folder / "corpus", evidence)


@pytest.fixture
def explored(db: None, read: Read) -> Explored:
    sae, corpus = sae_row(read.lm, read.sae), load_corpus(read.corpus, "texts")
    assert read.lm.tokenizer
    tokens = [read.lm.tokenizer.token_bytes(token) for token in range(read.lm.tokenizer.n_vocab)]
    words = artifacts.put(io.BytesIO(vocabulary.write(tokens, read.lm.tokenizer.special_ids)), name="vocabulary")
    sae.lm.vocabulary = words
    sae.lm.save()
    return Explored(sae, corpus, load_collection(sae, corpus, read.evidence), read)


@pytest.fixture
def with_weights(explored: Explored, tmp_path: Path) -> Explored:
    """Its weights are an artifact too."""
    weights = (save_sae(explored.read.sae, tmp_path / "sae") / "sae.safetensors").read_bytes()
    explored.sae.weights = artifacts.put(io.BytesIO(weights), name="sae.safetensors")
    explored.sae.save(update_fields=["weights"])
    return explored
