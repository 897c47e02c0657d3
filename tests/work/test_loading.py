"""From evidence to a feature's page, through a real database, and back out of it."""

from pathlib import Path

import numpy as np
import pytest
from django.db import connection

from explorer import artifacts
from explorer.actions.collections import remove_collection, remove_corpus, remove_sae
from explorer.models import (
    Activity,
    Artifact,
    Collection,
    Context,
    Corpus,
    Document,
    Examples,
    Feature,
    Sae,
    TokenIndex,
)
from explorer.packed.examples import edge
from explorer.queries import contexts as context_queries
from explorer.queries import features as feature_queries
from explorer.queries import library
from explorer.queries.features import FeaturePage
from explorer.work.loading import load_collection, load_corpus
from sae_core import ArrayFile
from tests.work.collected import Collected, collected, sae_row


@pytest.fixture
def small(db: None, tmp_path: Path) -> Collected:
    return collected(tmp_path)


def pages(small: Collected) -> list[FeaturePage]:
    sae = library.sae(small.rows.slug)
    assert sae
    found = [feature_queries.feature(sae, index) for index in range(small.sae.n_latents)]
    assert all(found)
    return [page for page in found if page]


def test_contexts_come_back_as_the_corpus_has_them(small: Collected) -> None:
    n = small.opened.config.contexts
    found = context_queries.contexts(small.corpus, range(n))
    assert sorted(found) == list(range(n))
    for number, text in found.items():
        assert text.ids == small.opened.contexts[number, : small.opened.lengths[number]].tolist()
        for position in range(len(text.ids)):
            piece = text.piece_at(position)
            assert piece
            assert piece.document == small.opened.document_of(number, position)
    names = context_queries.documents(small.corpus, range(small.opened.config.documents))
    assert names == {i: small.opened.document(i).name for i in range(small.opened.config.documents)}


def test_every_example_round_trips_to_the_texts_bytes(small: Collected) -> None:
    tokenizer = small.lm.tokenizer
    assert tokenizer
    corpus_bytes = {
        number: tokenizer.text_and_spans(small.opened.contexts[number, : small.opened.lengths[number]]).text
        for number in range(small.opened.config.contexts)
    }
    shown = 0
    for page in pages(small):
        assert page.examples
        lists = page.examples
        for each in [*lists.top, *lists.distinct, *lists.strip, *lists.near_misses]:
            assert tokenizer.text_and_spans(each.ids).text == corpus_bytes[each.context]
            shown += 1
    assert shown > 500


def test_lists_are_those_of_the_evidence(small: Collected) -> None:
    file = ArrayFile(small.evidence)
    for page in pages(small):
        assert page.examples
        index, lists = page.index, page.examples
        for name, items in (("top", lists.top), ("distinct", lists.distinct), ("strip", lists.strip)):
            there = file[f"{name}_context"][index] >= 0
            assert [item.context for item in items] == file[f"{name}_context"][index][there].tolist()
            assert [item.position for item in items] == file[f"{name}_position"][index][there].tolist()
            acts = file[f"{name}_act"][index][there].tolist()
            peaks = [max(item.activations) for item in items]
            assert all(abs(a - item.value) <= p / 65_535 for a, item, p in zip(acts, items, peaks, strict=True))
        near = file["near_context"][index] >= 0
        assert [each.context for each in lists.near_misses] == file["near_context"][index][near].tolist()
        assert [each.value for each in lists.near_misses] == file["near_pre_act"][index][near].tolist()
        assert all(max(each.activations) == 0 for each in lists.near_misses)
        assert len(lists.intervals) == (5 if file["n_fired"][index] else 0)
        for number, interval in enumerate(lists.intervals):
            assert interval.n_fired == file["interval_n_fired"][index, number]
            assert interval.low == file["interval_edge"][index, number]
            assert interval.high == file["interval_edge"][index, number + 1]
            mass = file["interval_sum_act"][index, number] / file["sum_act"][index]
            assert interval.share_of_mass == pytest.approx(mass, rel=1e-5)
            there = file["interval_context"][index, number] >= 0
            assert [each.context for each in interval.shown] == file["interval_context"][index, number][there].tolist()


def test_activations_are_all_that_fires_in_a_context(small: Collected) -> None:
    x = small.lm.activations(small.opened.contexts, small.sae.hookpoint)
    acts = small.sae.encode(x.flatten(0, 1)).reshape(*x.shape[:2], -1).numpy()
    ids = small.opened.contexts
    masked = np.isin(ids, small.lm.mask_ids) | (np.arange(ids.shape[1]) >= small.opened.lengths[:, None])
    acts[masked] = 0
    for page in pages(small):
        assert page.examples
        for each in [*page.examples.top, *page.examples.strip]:
            expected = acts[each.context, : len(each.ids), page.index]
            assert np.abs(np.array(each.activations) - expected).max() <= expected.max() * (1e-5 + 0.5 / 65_535)


def test_figures_and_weights(small: Collected) -> None:
    file = ArrayFile(small.evidence)
    for page in pages(small):
        index, activity = page.index, page.activity
        assert activity
        assert activity.n_fired == file["n_fired"][index]
        assert activity.n_documents == file["n_documents"][index]
        assert activity.maximum == file["max_act"][index]
        assert activity.p99 == file["p99_act"][index]
        assert activity.top_token == file["logit_top_id"][index, 0]
        if activity.n_fired:
            assert activity.mean == pytest.approx(file["sum_act"][index] / activity.n_fired, rel=1e-6)
        assert page.lens
        assert [each.token for each in page.lens.top] == file["logit_top_id"][index].tolist()
        assert [each.value for each in page.lens.bottom] == file["logit_bottom"][index].tolist()
        assert page.lens.histogram == file["logit_hist"][index].tolist()
        assert sum(page.lens.histogram) == small.lm.n_vocab
        assert [each.index for each in page.neighbours] == file["neighbour"][index].tolist()
        assert [each.token for each in page.inputs] == file["input_id"][index].tolist()
        together = file["cofire"][index] >= 0
        assert [each.index for each in page.together] == file["cofire"][index][together].tolist()
        assert [each.phi for each in page.together] == file["cofire_phi"][index][together].tolist()
        assert page.examples
        assert sum(bar.n_fired for bar in page.examples.histogram) == activity.n_fired


def test_bins_have_the_edges_that_the_pass_cut_them_at() -> None:
    from sae_core.evidence import FIRST_BIN, LAST_BIN, bin_edge

    bins = np.arange(FIRST_BIN, LAST_BIN + 1, dtype=np.int16)
    assert [edge(int(each)) for each in bins] == bin_edge(bins).tolist()


def test_the_token_index_says_where_features_peak(small: Collected) -> None:
    file = ArrayFile(small.evidence)
    expected: dict[int, set[int]] = {}
    for index in range(small.sae.n_latents):
        for context, position in zip(file["top_context"][index], file["top_position"][index], strict=True):
            if context >= 0:
                expected.setdefault(int(small.opened.contexts[context, position]), set()).add(index)
    found = {token: feature_queries.features_on(small.collection, token) for token in range(small.lm.n_vocab + 99)}
    assert {token: features for token, features in found.items() if features} == {
        token: sorted(features) for token, features in expected.items()
    }


@pytest.mark.parametrize("around", [1, 3])
def test_a_page_takes_as_many_queries_for_any_feature(
    small: Collected, django_assert_num_queries: object, around: int
) -> None:
    for index in range(0, 3 * around, around):
        with django_assert_num_queries(6):  # type: ignore[operator]
            sae = library.sae(small.rows.slug)
            assert sae
            feature_queries.feature(sae, index)


def test_the_same_corpus_is_one(small: Collected, tmp_path: Path) -> None:
    assert load_corpus(tmp_path / "corpus", "another name") == small.corpus


def test_a_second_collection_takes_the_place_of_the_first(small: Collected) -> None:
    again = load_collection(small.rows, small.corpus, small.evidence)
    assert list(Collection.objects.all()) == [again]
    assert again.pk != small.collection.pk
    assert set(tables()) == expected_tables(small, again)
    assert Artifact.objects.filter(pk=again.evidence_id).exists()


def test_an_sae_goes_with_all_that_is_its_own(small: Collected, django_capture_on_commit_callbacks: object) -> None:
    other = load_collection(sae_row(small.lm, small.sae, "another"), small.corpus, small.evidence)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        remove_sae(small.rows.pk)
    assert not Sae.objects.filter(pk=small.rows.pk).exists()
    assert not Feature.objects.filter(sae_id=small.rows.pk).exists()
    assert not Examples.objects.filter(collection_id=small.collection.pk).exists()
    assert Activity.objects.filter(collection=other).count() == small.sae.n_latents
    assert artifacts.path(other.evidence_id).exists(), "another collection names the same evidence"
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        remove_collection(other.pk)
    assert not Artifact.objects.filter(pk=other.evidence_id).exists()


def test_a_corpus_goes_with_all_that_was_collected_over_it(
    small: Collected, django_capture_on_commit_callbacks: object
) -> None:
    files = set(small.corpus.files.values())
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        remove_corpus(small.corpus.pk)
    for model in (Corpus, Context, Document, Collection, Examples, Activity, TokenIndex):
        assert not model.objects.exists()
    assert not Artifact.objects.filter(pk__in=files).exists()
    assert not files & {path.name for path in artifact_paths()}


def test_what_fails_leaves_nothing(small: Collected, tmp_path: Path) -> None:
    """The evidence is cut short after what is loaded first."""
    fresh = sae_row(small.lm, small.sae, "another")
    cut = tmp_path / "cut.safetensors"
    whole = small.evidence.read_bytes().replace(b'"firing_act"', b'"firing_Act"')
    cut.write_bytes(whole)
    before = set(tables()), set(Artifact.objects.values_list("pk", flat=True)), set(artifact_paths())
    with pytest.raises(ValueError, match="firing_act is missing"):
        load_collection(fresh, small.corpus, cut)
    assert (set(tables()), set(Artifact.objects.values_list("pk", flat=True)), set(artifact_paths())) == before
    assert not fresh.collections.exists()


def tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^explorer_[a-z]+_[0-9]+$'")
        return [name for (name,) in cursor.fetchall()]


def expected_tables(small: Collected, collection: Collection) -> set[str]:
    owned = {"document": small.corpus.pk, "context": small.corpus.pk, "feature": small.rows.pk}
    owned |= dict.fromkeys(("activity", "examples", "tokenindex"), collection.pk)
    return {f"explorer_{table}_{owner}" for table, owner in owned.items()}


def artifact_paths() -> list[Path]:
    from django.conf import settings

    return [path for path in settings.PLACES.artifacts.rglob("*") if path.is_file()]
