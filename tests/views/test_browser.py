"""The browser of features: its rows, sorted and filtered as the address says, and their downloads."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels
from explorer.models import Activity, Collection, Examples, Feature, FeatureList, ListEntry
from explorer.numbers import significant
from explorer.packed import examples as examples_form
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(looking: Client, explored: Explored) -> Callable[..., str]:
    def get(query: str = "", **more: Any) -> str:
        answer = looking.get(f"{explored.page}features/{query}", more)
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def indexes(page: str) -> list[int]:
    return [int(index) for index in re.findall(r'class="whole" href="[^"]*?/features/(\d+)/', page)]


def link(page: str, rel: str) -> str | None:
    found = re.search(rf'<a rel="{rel}" href="[^"]*?(\?[^"]*)"', page)
    return html.unescape(found[1]) if found else None


def activity() -> list[Activity]:
    return list(Activity.objects.order_by("index"))


COLUMNS = {"density": "n_fired", "token": "top_token"} | {
    name: name for name in ("maximum", "mean", "p99", "decoder_norm", "neighbour_cosine", "index")
}


def test_it_is_sorted_by_any_column(shown: Callable[..., str], explored: Explored) -> None:
    for sort, column in COLUMNS.items():
        rising = [each.index for each in sorted(activity(), key=lambda each: (getattr(each, column), each.index))]
        for direction, there, aria in (("asc", rising, "ascending"), ("desc", rising[::-1], "descending")):
            page = shown(sort=sort, dir=direction)
            assert indexes(page) == there
            assert re.search(rf'aria-sort="{aria}"><a [^>]*id="sort-{sort}"', page)


def test_an_order_is_as_one_expects_unless_it_is_said(shown: Callable[..., str], explored: Explored) -> None:
    assert indexes(shown()) == list(range(37))
    assert indexes(shown(sort="maximum")) == indexes(shown(sort="maximum", dir="desc"))
    assert indexes(shown(sort="token")) == indexes(shown(sort="token", dir="asc"))


def test_a_column_is_sorted_the_other_way_round_by_its_head(shown: Callable[..., str], explored: Explored) -> None:
    page = shown(sort="maximum", dir="desc", fires="yes", after=0)
    assert '<a href="?sort=maximum&amp;dir=asc&amp;fires=yes" id="sort-maximum">' in page
    assert '<a href="?sort=density&amp;dir=desc&amp;fires=yes" id="sort-density">' in page


def test_labels_have_an_order_of_their_own(shown: Callable[..., str], explored: Explored, admin: User) -> None:
    for index, text in ((9, "rivers"), (4, "Lakes"), (20, "lakes"), (30, "a gone one"), (11, "Ärger")):
        labels.give(explored.sae, index, text, by=admin)
    labels.give(explored.sae, 30, "", by=admin)
    page = shown(sort="label")
    assert indexes(page) == [4, 20, 9, 11]
    assert indexes(shown(sort="label", dir="desc")) == [11, 9, 20, 4]
    assert "features without one are left out" in page
    assert "4 of 37" in page
    others = re.search(r'href="[^"]*(\?[^"]*)">Show those', page)
    assert others
    assert indexes(shown(html.unescape(others[1]))) == [each for each in range(37) if each not in (4, 9, 11, 20)]


def test_its_pages_go_both_ways(shown: Callable[..., str], explored: Explored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.queries.browsing.page.__defaults__", (None, 10))
    there = indexes(shown(sort="density", dir="asc", before="end"))
    pages, query = [], "?sort=density&dir=asc"
    while query:
        page = shown(query)
        pages.append(indexes(page))
        query = link(page, "next") or ""
    assert [len(each) for each in pages] == [10, 10, 10, 7]
    assert [index for each in pages for index in each][-10:] == there
    backwards = [indexes(page)]
    while query := link(page, "prev") or "":
        page = shown(query)
        backwards.insert(0, indexes(page))
    assert backwards == pages
    assert link(page, "prev") is None
    assert link(page, "next") is not None


def test_beyond_the_end_there_is_a_way_back(shown: Callable[..., str], explored: Explored) -> None:
    page = shown(after=36)
    assert "Nothing follows in this order" in page
    assert "Back to the first" in page


def test_a_page_begins_at_a_feature(shown: Callable[..., str], explored: Explored) -> None:
    page = shown(at=12)
    assert indexes(page)[0] == 12
    assert link(page, "prev") == "?before=12"
    assert link(shown(at=0), "prev") is None


def test_a_features_neighbours_are_those_of_the_list(
    looking: Client, shown: Callable[..., str], explored: Explored
) -> None:
    query = "?sort=maximum&dir=desc&fires=yes&columns=mean"
    there = indexes(shown(query))
    assert f'href="{explored.page}features/{there[3]}/{html.escape(query)}"' in shown(query)
    page = looking.get(f"{explored.page}features/{there[3]}/{query}").content.decode()
    assert f'rel="prev" href="{explored.page}features/{there[2]}/{html.escape(query)}"' in page
    assert f'rel="next" href="{explored.page}features/{there[4]}/{html.escape(query)}"' in page
    assert f'href="{explored.page}features/{html.escape(query)}&amp;at={there[3]}"' in page


def test_the_silent_are_walked_where_it_is_them_one_looks_at(
    looking: Client, shown: Callable[..., str], explored: Explored
) -> None:
    Activity.objects.filter(index__in=[7, 21]).update(n_fired=0)
    for query in ("?fires=never", "?density_max=0"):
        page = looking.get(f"{explored.page}features/7/{query}").content.decode()
        assert f'href="{explored.page}features/{SILENT}/{query}"' in page
        assert f'href="{explored.page}features/21/{query}"' in page
    page = looking.get(f"{explored.page}features/6/?sort=index").content.decode()
    assert f'rel="next" href="{explored.page}features/8/?sort=index"' in page


def test_ranges_hold_their_ends(shown: Callable[..., str], explored: Explored) -> None:
    for name in ("maximum", "mean", "p99", "decoder_norm", "neighbour_cosine", "index"):
        values = sorted(getattr(each, name) for each in activity())
        low, high = values[8], values[25]
        there = [each.index for each in activity() if low <= getattr(each, name) <= high]
        page = shown(**{f"{name}_min": repr(low), f"{name}_max": repr(high)})
        assert indexes(page) == there
        assert f"{len(there)} of 37" in page


def test_a_density_is_typed_as_one_likes(shown: Callable[..., str], explored: Explored) -> None:
    tokens = explored.collection.tokens
    for each in activity()[:12]:
        share = each.n_fired / tokens
        there = [other.index for other in activity() if other.n_fired == each.n_fired]
        for least, most in ((repr(share), repr(share)), (f"{100 * share!r} %", f"{100 * share!r}%")):
            assert indexes(shown(density_min=least, density_max=most)) == there


def test_encoder_cosines_filter_too(shown: Callable[..., str], explored: Explored) -> None:
    assert len(indexes(shown(encoder_cosine_min="0.99"))) == 37  # its encoder is its decoder
    assert indexes(shown(encoder_cosine_max="0.5")) == []


def test_by_how_often_they_fire(shown: Callable[..., str], explored: Explored) -> None:
    tenth = explored.collection.tokens / 10
    for index, n in ((0, 1), (1, 9), (2, 10), (5, int(tenth)), (6, int(tenth) + 1)):
        Activity.objects.filter(index=index).update(n_fired=n)
    kinds: dict[str, Callable[[int], bool]] = {
        "yes": lambda n: n > 0,
        "never": lambda n: n == 0,
        "ultra-low": lambda n: 0 < n < 10 and n <= tenth,
        "dense": lambda n: n > tenth,
    }
    for fires, fits in kinds.items():
        page = shown(fires=fires)
        assert indexes(page) == [each.index for each in activity() if fits(each.n_fired)]
        assert re.search(r'aria-current="true">(Fire|Never fired|Ultra-low|Dense)</a>', page)


def test_by_label_words_and_list(shown: Callable[..., str], explored: Explored, viewer: User, admin: User) -> None:
    for index, text in ((9, "names of rivers"), (4, "River banks"), (20, "日本 <b>")):
        labels.give(explored.sae, index, text, by=admin)
    assert indexes(shown(labelled="yes")) == [4, 9, 20]
    assert len(indexes(shown(labelled="no"))) == 34
    assert indexes(shown(words="riv")) == [4, 9]
    assert indexes(shown(words="RIVERS")) == [4, 9]
    assert indexes(shown(words="riv nam")) == [9]
    assert indexes(shown(words="日")) == [20]
    assert "日本 &lt;b&gt;" in shown(words="日")
    assert "There is no word in it" in shown(words="&!'")
    own = FeatureList.objects.create(name="mine <i>", owner=viewer, shared=False)
    theirs = FeatureList.objects.create(name="theirs", owner=admin, shared=False)
    for index in (3, 30):
        ListEntry.objects.create(list=own, sae=explored.sae, index=index)
    page = shown(list=own.pk)
    assert indexes(page) == [3, 30]
    assert "mine &lt;i&gt;" in page
    page = shown(list=theirs.pk)
    assert len(indexes(page)) == 37
    assert "theirs" not in page


def test_by_the_token_that_they_raise(shown: Callable[..., str], explored: Explored) -> None:
    top = activity()[0].top_token
    there = [each.index for each in activity() if each.top_token == top]
    assert indexes(shown(token=f"#{top}")) == there
    tokenizer = explored.read.lm.tokenizer
    assert tokenizer
    wanted = next(each for each in activity() if tokenizer.token_bytes(each.top_token).decode(errors="ignore").strip())
    text = tokenizer.token_bytes(wanted.top_token).decode(errors="replace")
    if "\ufffd" not in text:
        assert wanted.index in indexes(shown(token=text))
    assert "No token of" in shown(token="no such token at all")


WRONG = [
    ("maximum_min=x", "Enter a number"), ("maximum_min=nan", "Enter a number"),
    ("density_max=2", "less than or equal"), ("density_min=-1", "greater than or equal"),
    ("index_min=1e3", "Enter a whole number"), ("fires=no", "valid choice"),
    ("index_max=99999999999", "less than or equal"), ("list=99999999999999999999", "valid choice"),
    ("list=%00", "Null characters"), ("words=%00", "Null characters"), ("p99_min=2&p99_max=1", "less than the least"),
    ("mean_max=1e39", "less than or equal"), ("after=x", "no such place"), ("before=-1", "no such place"),
    ("labelled=%ff", "valid choice"), ("words=" + "x" * 201, "at most 200"),
]  # fmt: skip


def test_what_is_wrong_is_named_and_filters_nothing(shown: Callable[..., str], explored: Explored) -> None:
    for query, said in WRONG:
        page = shown(f"?{query}")
        assert said in page, query
        assert indexes(page) == list(range(37)), query
        assert "<details open>" in page or "no such place" in page


def test_what_filters_can_be_taken_away(shown: Callable[..., str], explored: Explored) -> None:
    page = shown(fires="yes", density_max="0.1 %", sort="mean", after=3)
    assert "Density ≤ 0.001" in page
    assert f'href="{explored.page}features/?fires=yes&amp;sort=mean"' in page
    assert f'href="{explored.page}features/?density_max=0.1+%25&amp;sort=mean" aria-label="Without: Fires"' in page


def test_columns_are_chosen(shown: Callable[..., str], explored: Explored) -> None:
    page = shown("?columns=mean&columns=neighbour_cosine&columns=encoder_cosine&columns=n_fired")
    head = page.split("<thead>")[1].split("</thead>")[0]
    for title in ("Fires on", "Mean", "Nearest", "Encoder and decoder"):
        assert title in head
    assert "Strongest example" not in head
    assert "sparkline" not in page.split("<tbody>")[1]
    assert significant(activity()[0].mean) in page


def test_a_row_shows_what_its_page_begins_with(shown: Callable[..., str], explored: Explored) -> None:
    """The histogram counts all firings; the example is the strongest, at its token."""
    page = shown()
    for row in re.findall(r"<tr>\n.*?</tr>", page, re.DOTALL):
        (index,) = indexes(row)
        each = Activity.objects.get(index=index)
        if not each.n_fired:
            assert "never fired" in row
            assert "sparkline" not in row
            continue
        unpacked = examples_form.unpack(bytes(Examples.objects.get(index=index).packed), each.maximum)
        best = unpacked.top[0]
        (text,) = re.findall(r'<div class="tokens".*?</div>', row, re.DOTALL)
        first, at = int(re.search(r'data-first="(\d+)"', text)[1]), re.search(r'data-at[^>]*data-a="([^"]+)"', text)[1]  # type: ignore[index]
        assert first == max(0, best.position - 8) or first < best.position
        assert max(float(value) for value in at.split(" ")) == pytest.approx(each.maximum, rel=1e-4)
        heights = re.findall(r"V(\d+)h1", row)
        assert min(map(int, heights)) == 0
        assert len(heights) <= 48


def test_it_takes_as_many_queries_for_many(
    looking: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Session, user, version; the SAE's version again, as it is at hand; the order, features, activity, labels;
    examples, contexts, documents; the lists to choose from. With a filter the count, which is kept."""
    address = f"{explored.page}features/"
    looking.get(address)
    for query, most in (
        ("?after=35", 12),
        ("?after=33", 12),
        ("?sort=maximum&fires=yes", 13),
        ("?sort=mean&fires=yes", 12),
    ):
        with django_assert_num_queries(most):
            looking.get(f"{address}{query}")
    etag = looking.get(address).headers["ETag"]
    with django_assert_num_queries(3):
        assert looking.get(address, headers={"If-None-Match": etag}).status_code == 304


def test_without_text_there_are_weights_and_labels(
    looking: Client, shown: Callable[..., str], explored: Explored, admin: User
) -> None:
    Collection.objects.all().delete()
    labels.give(explored.sae, 4, "rivers", by=admin)
    page = shown(sort="maximum", fires="yes", maximum_min=1)
    assert indexes(page) == list(range(37))
    assert "was read over no text so far" in page
    assert "Never fired" not in page
    assert page.count("<th ") == page.split("<tbody>")[1].split("</tr>")[0].count("<td")
    norms = sorted(Feature.objects.all(), key=lambda each: (-each.decoder_norm, -each.index))
    assert indexes(shown(sort="decoder_norm")) == [each.index for each in norms]
    assert indexes(shown(sort="label", words="riv", fires="dense")) == [4]
    assert indexes(shown(after=30)) == list(range(31, 37))
    looking.get(f"{explored.page}features/4/?sort=maximum")


def downloaded(client: Client, explored: Explored, ending: str, query: str = "") -> str:
    answer = client.get(f"{explored.page}features.{ending}{query}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{explored.sae.slug}-features.{ending}"'
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def test_what_is_found_is_downloaded(
    looking: Client, explored: Explored, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.queries.browsing.batches.__defaults__", (5,))
    labels.give(explored.sae, 6, '=HYPERLINK("x"), "two\nlines"', by=admin)
    query = "?sort=maximum&dir=desc&fires=yes&after=3"
    there = [each.index for each in sorted(activity(), key=lambda each: (-each.maximum, -each.index)) if each.n_fired]
    rows = list(csv.DictReader(io.StringIO(downloaded(looking, explored, "csv", query), newline="")))
    assert [int(row["index"]) for row in rows] == there
    lines = [json.loads(line) for line in downloaded(looking, explored, "jsonl", query).split("\n")[:-1]]
    assert [line["index"] for line in lines] == there
    named = there.index(6)
    assert rows[named]["label"] == '\'=HYPERLINK("x"), "two\nlines"'
    assert lines[named]["label"] == '=HYPERLINK("x"), "two\nlines"'
    for row, line in zip(rows, lines, strict=True):
        each = Activity.objects.get(index=line["index"])
        assert line["density"] == each.n_fired / explored.collection.tokens
        for name in ("n_fired", "maximum", "mean", "p99", "decoder_norm", "neighbour_cosine"):
            assert line[name] == getattr(each, name) == type(line[name])(row[name])


def test_an_unknown_sae_has_neither(looking: Client, explored: Explored) -> None:
    for path in ("features/", "features.csv", "features.jsonl"):
        assert looking.get(f"/saes/nothing/{path}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_slow_download_keeps_no_connection(
    looking: Client, explored: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.queries.browsing.batches.__defaults__", (5,))
    chunks = iter(looking.get(f"{explored.page}features.jsonl").streaming_content)  # type: ignore[attr-defined]
    for _ in range(3):
        assert next(chunks).count(b"\n") == 5
        assert connection.connection is None
