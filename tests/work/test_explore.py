"""Adding an SAE: what comes of it, that the same again is found, and that what is wrong leaves nothing."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.conf import settings

from explorer import artifacts, vocabulary
from explorer.models import Artifact, Collection, Context, Corpus, Feature, Job, LanguageModel, MapPart, Sae
from explorer.models.jobs import JobState
from sae_core import ArrayFile, build_corpus, collect_evidence, load_sae
from tests.sae_core import small_lms
from tests.sae_core.small_tokenizers import llama3_like, made, words
from tests.sae_core.test_fit import BOS, subspace_sae, what_passes
from tests.sae_core.test_fit import made as fitted_lm
from tests.work.collected import HOOKPOINT, small_sae
from tests.work.running import Shelf, found, run, work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


def explored(arguments: dict[str, Any]) -> Sae:
    """The row, once everything that follows has been done."""
    sae = added(arguments)
    Job.objects.update(not_before=sae.created_at)  # what is to come a little later
    work_off()
    assert set(Job.objects.values_list("state", flat=True)) == {JobState.DONE}
    sae.refresh_from_db()
    return sae


def added(arguments: dict[str, Any]) -> Sae:
    return Sae.objects.get(slug=found("explore", arguments)["sae"])


def test_an_sae_is_added_collected_and_measured(shelf: Shelf, tmp_path: Path) -> None:
    sae = explored(shelf.arguments(name="Wörter: a first SAE"))
    lm, corpus = sae.lm, Corpus.objects.get()
    assert (sae.slug, sae.name) == ("worter-a-first-sae", "Wörter: a first SAE")
    assert (sae.family, sae.hookpoint) == ("topk", HOOKPOINT)
    assert (sae.d_in, sae.d_out, sae.n_latents, sae.config["k"]) == (16, 16, shelf.sae.n_latents, shelf.sae.config.k)
    assert (lm.slug, lm.kind, lm.n_layers, lm.d_model) == ("lm", "gpt2", small_lms.LAYERS, small_lms.D_MODEL)
    assert lm.fingerprint == shelf.lm.fingerprint
    assert corpus.name == "texts"

    assert shelf.lm.tokenizer
    tokens = [shelf.lm.tokenizer.token_bytes(token) for token in range(shelf.lm.tokenizer.n_vocab)]
    assert lm.vocabulary_id
    assert artifacts.path(lm.vocabulary_id).read_bytes() == vocabulary.write(tokens, shelf.lm.tokenizer.special_ids)

    opened = build_corpus([shelf.text], shelf.lm.tokenizer, tmp_path / "corpus", context_length=16)
    collect_evidence(
        shelf.lm, [shelf.sae], opened.contexts, [tmp_path / "e"], lengths=opened.lengths, pieces=opened.pieces
    )
    collection = Collection.objects.get(sae=sae, corpus=corpus)
    evidence, expected = ArrayFile(artifacts.path(collection.evidence_id)), ArrayFile(tmp_path / "e")
    assert evidence.names == expected.names
    for name in expected.names:
        np.testing.assert_array_equal(evidence[name], expected[name])
    assert Feature.objects.filter(sae=sae).count() == sae.n_latents
    assert Context.objects.filter(corpus=corpus).count() == opened.config.contexts

    assert sae.metrics
    assert sae.metrics["l0"] == pytest.approx(float(evidence["n_fired"].sum()) / collection.tokens, rel=1e-6)
    assert sae.metrics["corpus"] == corpus.slug
    assert sae.fit
    assert sae.fit["message"].startswith("FVU ")

    on_map = MapPart.objects.get()
    assert (on_map.sae, on_map.collection) == (sae, collection)
    assert on_map.n_points + on_map.n_silent == sae.n_latents
    assert on_map.map.asked["neighbours"] == 15


def test_the_same_again_is_found(shelf: Shelf) -> None:
    first = explored(shelf.arguments())
    kept = set(Artifact.objects.values_list("pk", flat=True))
    again = found("explore", shelf.arguments(name="under another name"))
    assert again == {"sae": first.slug, "corpus": "texts", "collect": None, "then": [], "measure": []}
    for model in (LanguageModel, Corpus, Sae, Collection):
        assert model._default_manager.count() == 1
    assert set(Artifact.objects.values_list("pk", flat=True)) == kept
    assert {each.media_type for each in Artifact.objects.all()} == {"application/octet-stream"}, "no part is left"


def test_two_of_one_name_have_addresses_of_their_own(shelf: Shelf) -> None:
    shelf.put(small_sae(seed=1), "other")
    slugs = [added(shelf.arguments(sae=str(shelf.folder / each), name="a name")).slug for each in ("sae", "other")]
    assert slugs == ["a-name", "a-name-2"]
    assert LanguageModel.objects.count() == Corpus.objects.count() == 1


def test_a_corpus_may_be_a_folder_or_one_that_is_here(shelf: Shelf, tmp_path: Path) -> None:
    build_corpus([shelf.text], shelf.lm.tokenizer, tmp_path / "apart", context_length=12, packing="apart")
    by_folder = found("explore", shelf.arguments(corpus=str(tmp_path / "apart")))
    corpus = Corpus.objects.get()
    assert (by_folder["corpus"], corpus.context_length, corpus.n_documents) == ("apart", 12, 16)
    by_name = found("explore", shelf.arguments(corpus="apart", sae=f"neurons:{HOOKPOINT}"))
    assert by_name["corpus"] == "apart"
    assert Sae.objects.get(slug=by_name["sae"]).weights is None
    assert Corpus.objects.count() == 1


def test_ids_and_at_most_so_many_contexts(shelf: Shelf, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(3, 200, size=(40, 9))
    np.save(tmp_path / "ids.npy", ids)
    arguments = shelf.arguments(tokens=str(tmp_path / "ids.npy"), contexts=7, context_length=None)
    sae = explored(arguments | {"sae": f"random:{HOOKPOINT}:50:7"})
    collection = Collection.objects.get(sae=sae)
    assert (collection.corpus.context_length, collection.about["contexts"], collection.tokens) == (9, 7, 63)

    assert explored(arguments | {"sae": f"random:{HOOKPOINT}:50:7", "contexts": None}) == sae
    assert Collection.objects.get(sae=sae).about["contexts"] == 40


def test_text_is_read_as_the_sae_was_trained(shelf: Shelf) -> None:
    described = shelf.sae.with_config(context_length=10, prepend_bos=False, dtype="bfloat16")
    shelf.put(described, "described")
    job = run("explore", shelf.arguments(sae=str(shelf.folder / "described"), context_length=None))
    corpus = Corpus.objects.get()
    assert (corpus.context_length, corpus.prepend_bos) == (10, False)
    assert "does not say" not in job.text
    assert job.text.startswith("The SAE was trained in bfloat16; lm is read in float32.\n")

    silent = run("explore", shelf.arguments(context_length=None))
    assert "does not say how long the contexts of its training were; here they are 32." in silent.text
    assert "does not say whether contexts began with a beginning-of-text token; here they do." in silent.text


def test_one_that_never_fires_is_let_in_and_said_to_be_silent(shelf: Shelf) -> None:
    family = "jumprelu"
    shelf.put(small_silent(), "silent")
    sae = explored(shelf.arguments(sae=str(shelf.folder / "silent")))
    collecting = Job.objects.get(kind="collect")
    assert sae.family == family
    assert "none of its 12 latents ever fired. Is it read as it was trained?" in collecting.text
    assert Collection.objects.get(sae=sae).n_never_fired == 12


def small_silent() -> Any:
    sae = small_sae(12)
    tensors = sae.tensors() | {"threshold": torch.full((12,), 1e6)}
    return type(sae)(sae.config.__class__(**vars(sae.config) | {"family": "jumprelu", "k": None}), tensors)


# What does not fit as it is


@pytest.fixture(scope="module")
def centred(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """An SAE that was trained on centred activations and does not say so."""
    shelf = Shelf(tmp_path_factory.mktemp("centred"))
    shelf.lm = fitted_lm(own_means=30, read_bos=0)
    shelf.lm.hf.save_pretrained(shelf.folder / "fitted")
    ids = np.random.default_rng(0).integers(3, small_lms.VOCAB, size=(220, 20))
    ids[:, 0] = BOS
    np.save(shelf.folder / "ids.npy", ids)
    shelf.put(subspace_sae(what_passes(shelf.lm, ids, centred=True)), "centred")
    return shelf


def of_centred(shelf: Shelf, fit: str) -> dict[str, Any]:
    lm, sae, ids = (str(shelf.folder / each) for each in ("fitted", "centred", "ids.npy"))
    return {"lm": lm, "sae": sae, "tokens": ids, "fit": fit}


def test_a_better_reading_is_used_where_somebody_says_so(centred: Shelf) -> None:
    sae = added(of_centred(centred, "use"))
    assert sae.config["centred"]
    assert sae.fit
    assert (sae.fit["better"], sae.fit["used"]) == ("centred", True)
    assert sae.fit["better_fvu"] < 0.3 < sae.fit["fvu"]
    assert (
        f"centred gives FVU {sae.fit['better_fvu']:.2f} instead of {sae.fit['fvu']:.2f}; so it is read"
        == sae.fit["message"].split(". ")[0]
    )


def test_a_better_reading_is_left_where_somebody_says_so(centred: Shelf) -> None:
    sae = added(of_centred(centred, "keep"))
    assert not sae.config["centred"]
    assert sae.fit
    assert (sae.fit["better"], sae.fit["used"]) == ("centred", False)


def test_a_better_reading_is_asked_about_before_anything_is_kept(centred: Shelf) -> None:
    assert found("explore", of_centred(centred, "ask"))["question"].startswith("centred gives FVU ")
    assert nothing_is_kept()


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """All tokens of the lm look at the beginning of text; the SAE was trained with one, and its files say without."""
    shelf = Shelf(tmp_path_factory.mktemp("beginning"))
    shelf.lm = fitted_lm(own_means=0, read_bos=15)
    known = [f"w{number}" for number in range(small_lms.VOCAB - 4)]
    made(words(known), shelf.folder / "beginning", bos_token="<eos>")  # the id of which is BOS
    shelf.lm.hf.save_pretrained(shelf.folder / "beginning")
    ids = np.random.default_rng(0).integers(4, small_lms.VOCAB, size=(220, 20))
    (shelf.folder / "words.txt").write_text(" ".join(known[each - 4] for each in ids.flatten()))
    np.save(shelf.folder / "ids.npy", ids)
    with_bos = np.concatenate([np.full((220, 1), BOS), ids[:, :-1]], axis=1)
    sae = subspace_sae(what_passes(shelf.lm, with_bos), prepend_bos=False)
    shelf.put(sae, "trained-with")
    return shelf


def of_beginning(shelf: Shelf, **text: Any) -> dict[str, Any]:
    lm, sae = str(shelf.folder / "beginning"), str(shelf.folder / "trained-with")
    return {"lm": lm, "sae": sae, "fit": "use", "context_length": 20} | text


def test_text_is_cut_anew_where_beginnings_of_text_fit_better(beginning: Shelf) -> None:
    sae = added(of_beginning(beginning, text=[str(beginning.folder / "words.txt")]))
    assert sae.fit
    assert (sae.fit["better"], sae.fit["used"]) == ("with beginning of text", True)
    assert Corpus.objects.get().prepend_bos
    beginnings = {bytes(ids)[:2] for ids in Context.objects.values_list("ids", flat=True)}
    assert beginnings == {BOS.to_bytes(2, "little")}


def test_ids_that_came_as_contexts_stay_as_they_are(beginning: Shelf) -> None:
    job = run("explore", of_beginning(beginning, tokens=str(beginning.folder / "ids.npy")))
    sae = Sae.objects.get()
    assert sae.fit
    assert (sae.fit["better"], sae.fit["used"]) == ("with beginning of text", False)
    assert "That takes other contexts than these, so it is not used; give the text itself." in job.text
    assert Corpus.objects.get().n_contexts == 220


# What cannot be used


def kept_files() -> set[Path]:
    return {path for path in settings.PLACES.artifacts.rglob("*") if path.is_file()}


def nothing_is_kept() -> bool:
    models = (LanguageModel, Corpus, Sae, Collection, Artifact)
    return not any(model._default_manager.exists() for model in models)


def empty_text(shelf: Shelf, folder: Path) -> dict[str, Any]:
    (folder / "empty.txt").write_text("")
    return {"text": [str(folder / "empty.txt")]}


def no_such_text(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"text": [str(folder / "nowhere.txt")]}


def too_long(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"context_length": 33}


def too_long_corpus(shelf: Shelf, folder: Path) -> dict[str, Any]:
    build_corpus([shelf.text], shelf.lm.tokenizer, folder / "long", context_length=40)
    return {"corpus": str(folder / "long")}


def foreign_ids(shelf: Shelf, folder: Path) -> dict[str, Any]:
    ids = np.full((50, 8), 7)
    ids[41, 5] = 400
    np.save(folder / "ids.npy", ids)
    return {"tokens": str(folder / "ids.npy"), "context_length": None}


def foreign_tokenizer(shelf: Shelf, folder: Path) -> dict[str, Any]:
    build_corpus([shelf.text], made(llama3_like(), folder / "other"), folder / "corpus", context_length=8)
    return {"corpus": str(folder / "corpus")}


def another_width(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"hookpoint": "blocks.1.mlp.hook_post"}


def no_such_hookpoint(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"hookpoint": "blocks.9.hook_resid_post"}


def no_hookpoint(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"sae": str(shelf.put(shelf.sae.with_config(hookpoint=""), f"placeless-{folder.name}"))}


def no_sae(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"sae": str(shelf.text)}


def no_lm(shelf: Shelf, folder: Path) -> dict[str, Any]:
    return {"lm": str(shelf.text)}


def not_whole_upload(shelf: Shelf, folder: Path) -> dict[str, Any]:
    cut = (shelf.folder / "sae" / "sae.safetensors").read_bytes()[:-40]
    files = {"sae.json": (shelf.folder / "sae" / "sae.json").read_bytes(), "sae.safetensors": cut}
    return {"sae": {"files": {name: artifacts.put(io.BytesIO(each), name=name).pk for name, each in files.items()}}}


def not_a_number(shelf: Shelf, folder: Path) -> dict[str, Any]:
    """What one of the tokens is looked up as; the 18th context alone has it."""
    hf = small_lms.new_lm("gpt2", vocab_size=400)
    hf.transformer.wte.weight.data[399] = torch.nan
    hf.save_pretrained(folder / "lm")
    ids = np.random.default_rng(0).integers(3, 200, size=(20, 10))
    ids[17, 4] = 399
    np.save(folder / "ids.npy", ids)
    return {"lm": str(folder / "lm"), "tokens": str(folder / "ids.npy"), "context_length": None}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (empty_text, "no text in .*empty.txt"),
        (no_such_text, "nowhere.txt"),
        (too_long, "contexts of 33 tokens are asked for; lm takes at most 32"),
        (too_long_corpus, "long: contexts of 40 tokens; lm takes at most 32"),
        (foreign_ids, r"ids.npy: id 400 in context 41 at 5, expected 0 to 399"),
        (foreign_tokenizer, "corpus: its tokens were made by another tokenizer than that of lm"),
        (another_width, "the SAE reads 16 numbers a token, and blocks.1.mlp.hook_post of lm has 40"),
        (no_such_hookpoint, "blocks.9.hook_resid_post"),
        (no_hookpoint, "the SAE's files do not say where it reads; name the hookpoint"),
        (no_sae, "no SAE is recognised there"),
        (no_lm, "there is no config.json"),
        (not_whole_upload, "^sae.safetensors: "),
        (not_a_number, r"blocks.1.hook_resid_post of lm: NaN in context 17 at \d"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_kept(
    shelf: Shelf, tmp_path: Path, wrong: Callable[[Shelf, Path], dict[str, Any]], said: str
) -> None:
    before = kept_files()
    job = run("explore", shelf.arguments(**wrong(shelf, tmp_path)))
    assert (job.state, job.failures, job.traceback) == (JobState.FAILED, 1, ""), job.traceback
    assert re.search(said, job.error), job.error
    assert nothing_is_kept()
    assert kept_files() <= before
    assert list(settings.PLACES.scratch.iterdir()) == []
    assert Job.objects.count() == 1


def test_an_upload_becomes_our_own_and_is_not_kept_twice(shelf: Shelf) -> None:
    files = {each.name: artifacts.put(each.open("rb"), name=each.name).pk for each in (shelf.folder / "sae").iterdir()}
    by_upload = explored(shelf.arguments(sae={"files": files}, name="sent"))
    assert by_upload.weights_id == files["sae.safetensors"], "our own format comes out as it went in"
    assert not Artifact.objects.filter(pk=files["sae.json"]).exists()
    assert added(shelf.arguments()) == by_upload
    assert load_sae(shelf.folder / "sae").config == shelf.sae.config


def test_weights_that_have_changed_since_are_not_taken_for_the_same(shelf: Shelf, tmp_path: Path) -> None:
    shutil.copytree(shelf.folder / "lm", tmp_path / "lm")
    result = found("explore", shelf.arguments(lm=str(tmp_path / "lm")))
    small_lms.save_small_lm(tmp_path / "lm", "gpt2", vocab_size=400, n_inner=44)
    collecting = Job.objects.get(pk=result["collect"])
    work_off(collecting)
    collecting.refresh_from_db()
    assert collecting.state == JobState.FAILED
    assert "the weights there are not those that lm was added with" in collecting.error
    assert not Collection.objects.exists()
    assert corpus_is_whole()


def corpus_is_whole() -> bool:
    corpus = Corpus.objects.get()
    return Context.objects.filter(corpus=corpus).count() == corpus.n_contexts
