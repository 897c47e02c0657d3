"""Every page of features in both themes and at both widths, over text that is as odd as text gets: contexts of 2,048
tokens, lines from right to left, emoji split over tokens, words without end, names that would like to be scripts."""

from pathlib import Path
from typing import Literal

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from explorer import artifacts, vocabulary
from explorer.actions import labels, lists
from explorer.models import Activity, FeatureList, Job, Sae, Steering
from explorer.work.loading import load_collection, load_corpus
from sae_core import build_corpus, collect_evidence
from sae_core.lm import Lm
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.laid_out import kept
from tests.processes import Web
from tests.sae_core import small_lms
from tests.sae_core.small_tokenizers import gpt2_like, made
from tests.work.collected import END, sae_row, small_sae

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
CONTEXT = 2048
SCRIPT = "<img src=x onerror=alert(1)>"
LINES = [
    "أنهار وبحيرات العالم العربي (123) left again.\n",
    "נהרות ואגמים\n", "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🙂🙂\n", "語言模型 reads 言葉\n",
    f"{SCRIPT} & <script>alert(2)</script>\n", "w" * 300 + "\n", "\tdef add(first, second):\n\n\n    return first\n",
    "z̷̡͎͙a̸͓͝l̶͚͑g̵̢̈o̷ and \u202eturned\u202c \u200b\ufeff\x07\n",
]  # fmt: skip
LONG = "a label that goes on and on " * 7


@pytest.fixture
def odd(transactional_db: None, tmp_path: Path, viewer: User) -> Sae:
    tokenizer = made(gpt2_like(LINES), tmp_path / "lm", bos_token=END, eos_token=END)
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    lm = Lm(small_lms.new_lm("gpt2", vocab_size=tokenizer.n_vocab, n_positions=CONTEXT, **ids), tokenizer, SCRIPT)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(3):
        lines = [LINES[(number + at * (number + 3)) % len(LINES)] for at in range(120)]
        (folder / f"{number} {SCRIPT}.txt").write_text("".join(lines), encoding="utf-8")
    opened = build_corpus([folder], tokenizer, tmp_path / "corpus", context_length=CONTEXT)
    evidence = tmp_path / "evidence.safetensors"
    sae = small_sae()
    collect_evidence(lm, [sae], opened.contexts, [evidence], lengths=opened.lengths, pieces=opened.pieces)
    row, corpus = sae_row(lm, sae, f"odd {LONG}"[:70]), load_corpus(tmp_path / "corpus", SCRIPT)
    tokens = [tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)]
    (tmp_path / "words").write_bytes(vocabulary.write(tokens, tokenizer.special_ids))
    with (tmp_path / "words").open("rb") as words:
        row.lm.vocabulary = artifacts.put(words, name="vocabulary")
    row.lm.save()
    load_collection(row, corpus, evidence)
    kept([row], [sae])
    for index, text in enumerate((LONG, "أنهار وبحيرات", "👩‍👩‍👧‍👦 family", SCRIPT)):
        labels.give(row, index, text, by=viewer)
    found = lists.make(SCRIPT, LONG, shared=True, by=viewer)
    for index in range(6):
        lists.keep(found, row, index, by=viewer, text=LONG if index else SCRIPT)
    return row


@pytest.fixture
def looking(page: Page, web: Web, viewer: User) -> Page:
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    return page


def pages(sae: Sae) -> list[str]:
    of_sae = f"/saes/{sae.slug}/"
    rows = Activity.objects.filter(collection__sae=sae).order_by("index")
    first, second = rows.filter(n_fired__gt=0).values_list("index", flat=True)[:2]
    feature, silent = f"{of_sae}features/{first}/", rows.filter(n_fired=0).values_list("index", flat=True)[0]
    search = f"/search/?sae={sae.slug}"
    return [
        "/", of_sae, f"{of_sae}map/?feature=0-1&box=0,0,1,0.8&q=label", f"{of_sae}maps/",
        f"{of_sae}features/", f"{of_sae}features/?words=nothing+of+the+kind", f"{of_sae}labels/",
        feature, f"{feature}?around=whole", f"{feature}?embed=1", f"{feature}labels/", f"{feature}keep/",
        f"{of_sae}features/{silent}/", f"{feature}beside/", f"{feature}beside/{sae.slug}/{second}/",
        "/lists/", f"/lists/{FeatureList.objects.get().pk}/", search, f"{search}&kind=labels&q=label",
        f"{search}&kind=tokens&q=return", f"{search}&kind=labels&q=nothing",
        f"/steer/?feature={sae.slug}/{first}&feature={sae.slug}/{second}", *steered(sae, first),
    ]  # fmt: skip


def steered(sae: Sae, index: int) -> list[str]:
    """One that waits, one that failed, one that is done and has written what is odd."""
    key = f"{sae.slug}:{index}"
    told = {"sae": sae.slug, "fingerprint": "", "index": index, "method": "add", "strength": 2.0, "unit": "p99"}
    texts = [{"times": times, "seed": 0, "control": None} for times in (0, 1)]
    asked = {
        "lm": "0" * 64, "prompt": f"{SCRIPT} {'w' * 400}\n{LINES[0]}", "chat": False, "texts": texts, "sampling": {},
        "new_tokens": 64, "changes": [told | {"value": 1.0, "where": "everywhere"}],
    }  # fmt: skip
    ids = list(range(3, 200))
    written = {
        "ids": ids, "p": [0.5] * len(ids), "losses": [], "alternatives": [[[each, 0.5]] for each in ids],
        "perplexity": 2.0, "repetition": 0.9, "ended": False, "activations": {key: [0.0, *[1.5] * len(ids)]},
    }  # fmt: skip
    made = []
    for state, result in (("queued", None), ("failed", None), ("done", {"prompt": [0], "first": 0})):
        job = Job.objects.create(kind="steer", queue="interactive", state=state, error=f"{SCRIPT} {'w' * 300}")
        whole = result and result | {"texts": [text | written for text in texts]}
        made.append(Steering.objects.create(key=f"odd-{job.pk}", asked=asked, who="", job=job, result=whole))
    return [f"/steer/{each.key}/" for each in made]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_and_within_the_window(
    looking: Page, web: Web, odd: Sae, theme: Literal["light", "dark"], broker_url: None
) -> None:
    looking.emulate_media(color_scheme=theme)
    wrong: list[object] = []
    for address in pages(odd):
        looking.set_viewport_size({"width": 1440, "height": 6000})  # charts are drawn once they come into view
        looking.goto(f"{web.address}{address}")
        expect(looking.locator(".plot .loading")).to_have_count(0, timeout=20_000)
        if looking.locator(".stage").count():
            expect(looking.locator(".stage[data-points]")).to_have_count(1, timeout=20_000)
            expect(looking.locator(".opened, .selection, .found")).to_have_count(3)
        for width in (1440, 390):
            looking.set_viewport_size({"width": width, "height": 900})
            if looking.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append((address, width, "runs over the side"))
            if not address.endswith("=whole"):  # of which axe would look at each of 100,000 tokens
                wrong += [(address, width, each) for each in serious(looking)]
    assert wrong == []
