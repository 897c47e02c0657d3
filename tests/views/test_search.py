"""The search page: what is told apart, what is found, and that nothing anybody types is an error of ours."""

import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings
from safetensors.torch import save_file

from explorer import artifacts
from explorer.actions import labels
from explorer.models import Activity, Bucket, Job, Label, Sae
from explorer.models.jobs import JobState
from explorer.queries import features as feature_queries
from explorer.queries import search as search_queries
from explorer.queries.words import words_of
from explorer.work import unembedding
from sae_core.reading import reading
from tests.explored import Explored
from tests.work.collected import HOOKPOINT, sae_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def prepared(explored: Explored, tmp_path: Path) -> Explored:
    """With weights, and what logits are read with."""
    save_file({"W_dec": explored.read.sae.W_dec.detach().contiguous()}, tmp_path / "sae.safetensors")
    unembedding.write(explored.read.lm, [HOOKPOINT], tmp_path / "unembedding")
    explored.sae.weights_id = kept(tmp_path / "sae.safetensors")
    explored.sae.save()
    explored.sae.lm.unembedding_id = kept(tmp_path / "unembedding")
    explored.sae.lm.save()
    return explored


def kept(path: Path) -> str:
    return artifacts.put(io.BytesIO(path.read_bytes()), name=path.name).sha256


@pytest.fixture
def shown(looking: Client) -> Callable[..., str]:
    def get(**query: Any) -> str:
        answer = looking.get("/search/", query)
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def found(page: str) -> list[int]:
    return [int(index) for index in re.findall(r'<td class="number"><a href="[^"]*/features/(\d+)/"', page)]


def test_an_empty_library_says_so(shown: Callable[..., str]) -> None:
    assert "There is nothing to search yet" in shown()
    assert "There is nothing to search yet" in shown(q="x", kind="logit")


def test_labels_are_found_by_their_words_and_the_beginning_of_the_last(
    shown: Callable[..., str], explored: Explored, admin: User
) -> None:
    for index, text in ((4, "import statements"), (9, "Important, urgent, crucial"), (12, "statement that imports <b>"),
                        (20, "日本 import")):  # fmt: skip
        labels.give(explored.sae, index, text, by=admin)
    labels.give(explored.sae, 9, "urgent", by=admin)
    assert sorted(found(shown(q="import"))) == [4, 12, 20]
    assert sorted(found(shown(q="statements im"))) == [4, 12]
    assert found(shown(q="日")) == [20]
    assert found(shown(q="crucial")) == []
    page = shown(q="import", sae=explored.sae.slug)
    assert "<mark>imports</mark> &lt;b&gt;" in page
    assert "In all SAEs" in page
    assert "There is no word in it" in shown(q="&!'")


def test_words_end_at_signs_of_every_script(shown: Callable[..., str], explored: Explored, admin: User) -> None:
    """Which PostgreSQL's parser takes for letters where its locale is C, or for a path or a host."""
    for index, text in ((4, "“return” at the head"), (9, "versionadded/changed, e.g. os.path"), (12, "हिन्दी। रंग"),
                        (20, "أنهار، بحيرات"), (21, "日本、言葉"), (22, "half…way"), (23, "👍thumb👎")):  # fmt: skip
        labels.give(explored.sae, index, text, by=admin)
    for asked, expected in (("return", 4), ("changed", 9), ("path", 9), ("हिन्दी", 12), ("हिन्", 12), ("रंग", 12),
                            ("أنهار", 20), ("言葉", 21), ("half", 22), ("way", 22), ("thumb", 23)):  # fmt: skip
        assert found(shown(q=asked)) == [expected], asked
    assert "<mark>return</mark>" in shown(q="return", sae=explored.sae.slug)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0_"), max_size=40))
def test_every_word_of_a_label_finds_it(explored: Explored, text: str) -> None:
    Label.objects.filter(sae=explored.sae).delete()
    Label.objects.create(sae=explored.sae, index=7, text=text)
    for word in words_of(text):
        assert search_queries.labels([explored.sae], [word]).keys == [(explored.sae.pk, 7)], word


def test_the_shorter_of_two_labels_comes_first(shown: Callable[..., str], explored: Explored, admin: User) -> None:
    labels.give(explored.sae, 2, "rivers of many countries in the south, and their names", by=admin)
    labels.give(explored.sae, 30, "rivers", by=admin)
    assert found(shown(q="river")) == [30, 2]


def test_labels_come_in_pages(
    shown: Callable[..., str], explored: Explored, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.queries.search.labels.__defaults__", (1, 10))
    monkeypatch.setattr("explorer.queries.search.PAGE", 10)
    for index in range(25):
        labels.give(explored.sae, index, f"number {index}", by=admin)
    pages = [found(shown(q="number", page=page)) for page in (1, 2, 3, 4)]
    assert [len(each) for each in pages] == [10, 10, 5, 0]
    assert sorted(index for each in pages for index in each) == list(range(25))
    monkeypatch.setattr("explorer.queries.search.RANKED", 20)
    assert "20 of more features" in shown(q="number")


def test_an_index_is_gone_to_where_an_sae_is_searched(looking: Client, explored: Explored) -> None:
    for typed in ("12", " #12 "):
        answer = looking.get("/search/", {"q": typed, "sae": explored.sae.slug})
        assert (answer.status_code, answer.headers.get("Location")) == (302, f"{explored.page}features/12/")
    assert "has features 0 to 36" in looking.get("/search/", {"q": "37", "sae": explored.sae.slug}).content.decode()
    page = looking.get("/search/", {"q": "12"}).content.decode()
    assert f'Feature 12 of <a href="{explored.page}features/12/">' in page


def test_a_token_in_quotes_finds_what_is_strongest_on_it(shown: Callable[..., str], explored: Explored) -> None:
    tokenizer = explored.read.lm.tokenizer
    assert tokenizer
    texts = {token: tokenizer.token_bytes(token).decode(errors="replace") for token in range(tokenizer.n_vocab)}
    for token, text in texts.items():
        on = feature_queries.features_on(explored.collection, token)
        if not on or "\ufffd" in text or not text.strip():
            continue
        same = [other for other, known in texts.items() if known in (text.strip(), f" {text.strip()}")]
        wanted = {index for other in same for index in feature_queries.features_on(explored.collection, other)}
        page = shown(q=f'"{text.strip()}"', sae=explored.sae.slug)
        assert set(found(page)) == wanted
        strengths = [Activity.objects.get(index=index).maximum for index in found(page)]
        assert strengths == sorted(strengths, reverse=True)
        assert set(found(shown(q=f"#{token}", kind="tokens"))) <= set(on)
        return
    raise AssertionError("no feature is strongest on any whole token")


def test_a_token_that_is_none_is_said(shown: Callable[..., str], explored: Explored) -> None:
    for kind in ("tokens", "logit"):
        assert "No token of" in shown(q="“no such token <b>”", kind=kind)
    assert "&lt;b&gt;" in shown(q="“no such token <b>”")
    assert "No token of" in shown(q="#999999999", kind="logit")


def test_logits_are_of_all_features_in_both_directions(shown: Callable[..., str], prepared: Explored) -> None:
    from explorer import directions

    token = Activity.objects.get(index=5).top_token
    page = shown(q=f"#{token}", kind="logit")
    both = directions.logits(Sae.objects.select_related("lm").get(), token, 25)
    assert found(page) == [each.index for each in (*both.raised, *both.lowered)]
    assert "over all 37 features" in page


def test_what_is_lacking_can_be_made(
    client: Client, shown: Callable[..., str], explored: Explored, admin: User
) -> None:
    page = shown(q="#1", kind="logit")
    assert "has not been written down yet" in page
    assert "Write it down" not in page
    client.force_login(admin)
    assert "Write it down" in client.get("/search/", {"q": "#1", "kind": "logit"}).content.decode()
    client.post(f"/search/prepare/{explored.sae.slug}/")
    assert Job.objects.get().arguments == {"lm": explored.sae.lm_id}


def test_features_like_one_and_like_a_direction(shown: Callable[..., str], prepared: Explored) -> None:
    import torch

    W_dec = prepared.read.sae.W_dec
    cosines = torch.nn.functional.cosine_similarity(W_dec, W_dec[7][None])
    order = [index for index in cosines.argsort(descending=True).tolist() if index != 7]
    assert found(shown(q="7", kind="like")) == order[:25]
    assert found(shown(q=json.dumps(W_dec[7].tolist()))) == [7, *order[:24]]


@pytest.mark.parametrize(
    ("q", "said"),
    [("37", "has features 0 to 36"), ("x", "Give the index"), ("[1, 2]", "It has 2 numbers"), ("[1e999]", "Give the"),
     ("[true]", "Give the"), ("[" * 5000, "Give the"), ("[" + "9" * 400 + "]", "Give the")],
)  # fmt: skip
def test_what_is_no_direction_is_said(shown: Callable[..., str], prepared: Explored, q: str, said: str) -> None:
    assert said in shown(q=q, kind="like")


def test_saes_of_other_widths_are_not_compared(shown: Callable[..., str], prepared: Explored) -> None:
    other = sae_row(prepared.read.lm, prepared.read.sae, "other")
    Sae.objects.filter(pk=other.pk).update(d_out=8)
    assert "not of one language model and width" in shown(q="1", kind="like", of=prepared.sae.slug, sae="other")


@pytest.mark.parametrize(
    ("query", "said"),
    [("kind=x", "kind:"), ("sae=x", "sae:"), ("of=%00", "of:"), ("page=0", "page:"), ("page=201", "page:"),
     ("q=%00", "Null characters"), ("q=" + "x" * 2001, "At most 2,000 characters")],
)  # fmt: skip
def test_what_is_wrong_is_named(looking: Client, explored: Explored, query: str, said: str) -> None:
    answer = looking.get(f"/search/?{query}")
    assert answer.status_code == 200
    assert said in answer.content.decode()


SCRIPT = "<script>alert(1)</script>"
ODD = [
    "\x00", "\ud800", "\u202eabc\u202c", "مرحبا", "e\u0301", "😀", "\U0010ffff", "'", "\\", "':*", SCRIPT, "&", "!",
    "a:*", "“”", '""', '"\n"', "#", "[", "[[]]", "[NaN]", "[1]", "12", "9" * 30, "#464", "-1", "1e5", " ",
]  # fmt: skip


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    q=st.one_of(st.sampled_from(ODD), st.text(max_size=60), st.lists(st.sampled_from(ODD), max_size=4).map("".join)),
    kind=st.sampled_from(["", "labels", "tokens", "logit", "text", "like", "\x00"]),
    sae=st.sampled_from(["", "a-small-SAE", "x", "\ud800"]),
    page=st.sampled_from(["", "1", "200", "-1", "x", "９"]),
)
@example(q="\U00020000" * 1999, kind="labels", sae="", page="")
def test_whatever_comes_is_answered(
    looking: Client, prepared: Explored, q: str, kind: str, sae: str, page: str
) -> None:
    sent = {"q": q, "kind": kind, "sae": sae, "page": page}
    query = "&".join(f"{name}={_quoted(value)}" for name, value in sent.items())
    answer = looking.get(f"/search/?{query}")
    assert answer.status_code in (200, 302)
    assert b"<script>alert" not in answer.content
    answer = looking.get(f"/api/v1/search?{query}")
    assert answer.status_code in (200, 404, 409, 422)


def _quoted(text: str) -> str:
    """As bytes that need not be UTF-8."""
    return "".join(f"%{byte:02x}" for byte in text.encode(errors="surrogatepass"))


def test_as_many_queries_for_three_as_for_one(
    looking: Client, explored: Explored, admin: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Session, user; SAEs, collections; how many labels, which come first; those of the page, activity."""
    for n in (1, 3):
        for index in range(n):
            labels.give(explored.sae, index, "a name", by=admin)
        with django_assert_num_queries(8):
            looking.get("/search/?q=name")


def test_a_text_is_posted_and_has_an_address(looking: Client, explored: Explored, viewer: User) -> None:
    answer = looking.post("/search/text/", {"text": "Good\r\ntext", "sae": explored.sae.slug})
    job = Job.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/search/text/{job.pk}/")
    assert (job.kind, job.created_by, job.queue) == ("read_text", viewer, "interactive")
    assert job.arguments == {"sae": explored.sae.pk, "text": "Good\ntext"}
    page = looking.get(f"/search/text/{job.pk}/").content.decode()
    assert "Running the text through the model" in page
    part = looking.get(f"/search/text/{job.pk}/", headers={"HX-Request": "true"})
    assert part.status_code == 204
    job.state, job.error = JobState.FAILED, "The text is 999 tokens long; <b>"
    job.save()
    page = looking.get(f"/search/text/{job.pk}/").content.decode()
    assert "999 tokens long; &lt;b&gt;" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "This field is required"), (" \n", "There is nothing in it"), ("\x00", "Null characters"),
     ("x" * 10_001, "At most 10,000 characters are read at a time; this has 10,001")],
)  # fmt: skip
def test_a_text_that_cannot_be_read_is_refused(looking: Client, explored: Explored, text: str, said: str) -> None:
    answer = looking.post("/search/text/", {"text": text, "sae": explored.sae.slug})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Job.objects.exists()


def test_nobody_has_texts_read_without_end(client: Client, explored: Explored, settings: Settings) -> None:
    settings.OPEN_READING, settings.TEXT_RATE = True, 2
    sent = {"text": "a", "sae": explored.sae.slug}
    assert [client.post("/search/text/", sent).status_code for _ in range(3)] == [302, 302, 429]
    answer = client.post("/search/text/", sent)
    assert 0 < int(answer.headers["Retry-After"]) <= 30
    assert Job.objects.count() == 2
    assert Bucket.objects.filter(key__startswith="text:address").exists()


def test_other_jobs_are_no_texts(looking: Client) -> None:
    job = Job.objects.create(kind="diagnose", queue="interactive")
    assert looking.get(f"/search/text/{job.pk}/").status_code == 404
    assert looking.get("/search/text/999999/").status_code == 404


@pytest.fixture
def done(explored: Explored) -> Job:
    ids = [0, 5, 9, 5, 17, 30, 2]
    result = reading(explored.read.lm, explored.read.sae, ids, {0})
    result |= {"sae": explored.sae.slug, "ids": ids, "first": 1}
    arguments = {"sae": explored.sae.pk, "text": "x"}
    return Job.objects.create(
        kind="read_text", queue="interactive", state=JobState.DONE, arguments=arguments, result=result
    )


def test_a_text_shows_what_fires_and_what_a_token_is_made_of(
    looking: Client, explored: Explored, done: Job, admin: User
) -> None:
    result: dict[str, Any] = done.result  # type: ignore[assignment]
    whole = {int(index): figures for index, figures in result["features"].items()}
    strongest = sorted(whole, key=lambda index: (-whole[index][0], index))
    labels.give(explored.sae, strongest[0], "a name <i>", by=admin)
    address = f"/search/text/{done.pk}/"
    page = looking.get(address).content.decode()
    assert found(page) == strongest[:50]
    assert "a name &lt;i&gt;" in page
    assert 'class="made"' not in page
    by_count = sorted(whole, key=lambda index: (-whole[index][2], index))
    assert found(looking.get(f"{address}?by=count").content.decode()) == by_count[:50]

    page = looking.get(f"{address}?at=2,4").content.decode()
    summed: dict[int, float] = {}
    for position in (2, 4):
        for index, act, _ in result["tokens"][position]["parts"]:
            summed[index] = summed.get(index, 0) + act
    assert found(page) == sorted(summed, key=lambda index: (-summed[index], index))[:50]
    bars = page.split('<div class="shares"')[1:]
    assert len(bars) == 2
    for bar, position in zip(bars, (2, 4), strict=True):
        linked = [int(index) for index in re.findall(r'<a href="[^"]*/features/(\d+)/" data-kind', bar)]
        assert linked == [index for index, _, _ in result["tokens"][position]["parts"]]
        widths = [(float(left), float(width)) for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", bar)]
        assert min(left for left, _ in widths) == pytest.approx(0, abs=0.01)
        assert max(left + width for left, width in widths) <= 100.01


def test_where_a_feature_fires_is_shown(looking: Client, done: Job) -> None:
    result: dict[str, Any] = done.result  # type: ignore[assignment]
    index, act, _ = result["tokens"][3]["parts"][0]
    page = looking.get(f"/search/text/{done.pk}/?feature={index}").content.decode()
    text = re.search(r'<div class="tokens".*?</div>', page, re.DOTALL)
    assert text
    assert f"{act:.5g}" in html.unescape(text[0])


@pytest.mark.parametrize(
    ("query", "said"),
    [("at=x", "Positions are numbers"), ("at=1,", "Positions are"), ("at=" + "1," * 64 + "1", "Positions are"),
     ("by=x", "valid choice"), ("feature=-1", "greater than or equal"), ("at=%00", "at:")],
)  # fmt: skip
def test_what_is_wrong_in_a_texts_address_is_named(looking: Client, done: Job, query: str, said: str) -> None:
    answer = looking.get(f"/search/text/{done.pk}/?{query}")
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert looking.get(f"/search/text/{done.pk}/?at=9999").status_code == 200


def test_a_text_outlives_its_sae(looking: Client, done: Job) -> None:
    result: dict[str, Any] = done.result  # type: ignore[assignment]
    done.result = result | {"sae": "gone"}
    done.save()
    assert "has been removed" in looking.get(f"/search/text/{done.pk}/").content.decode()


def test_the_box_is_on_every_page_and_knows_its_sae(looking: Client, explored: Explored, settings: Settings) -> None:
    for address in ("/", explored.page, f"{explored.page}features/", f"{explored.page}features/3/"):
        page = looking.get(address).content.decode()
        assert page.count('data-key="/"') == 1
        assert (f'name="sae" value="{explored.sae.slug}"' in page) == (address != "/")
    looking.logout()
    assert 'data-key="/"' not in looking.get("/sign-in/").content.decode()
    settings.OPEN_READING = True
    assert 'data-key="/"' in looking.get("/").content.decode()
