"""Studies as researchers make and mind them, and what others see of them."""

import html
import re
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import lists, rubrics, slots, studies
from explorer.actions.accounts import set_role
from explorer.actions.annotators import annotator_of
from explorer.actions.removing import remove_sae
from explorer.models import AuditEntry, Collection, Item, Job, LanguageModel, Sae, Study
from explorer.models.access import Role
from explorer.models.studies import StudyState, SubjectKind
from explorer.queries.sampling import sampled
from tests.explored import Explored
from tests.studied import FULL, SOME, Studied, person, studied, study_of, user_of
from tests.studied import given as give

__all__ = ["studied"]
pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"
ASKED = {
    "name": "a round", "sae": "a-small-SAE", "how": "uniform", "n": 12, "intervals": [4, 0], "neuron": 6,
    "direction": 0, "shuffled": 2, "untrained": 0, "per_item": 3, "staged": "yes", "seed": 5, "guidelines": "",
    "practice": "on",
}  # fmt: skip
TELLING = ("feature", "neuron", "control", "direction", "basis", "shuffled", "untrained", "practice")


@pytest.fixture
def annotator(db: None) -> User:
    return user_of(person("ann"))


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def main_of(page: str) -> str:
    return page[page.index("<main") : page.index("</main>")]


def asked(**changes: object) -> dict[str, object]:
    return {**ASKED, "rubric": rubrics.published().pk} | changes


def made(client: Client, **changes: object) -> Study:
    answer = client.post("/studies/make/", asked(**changes))
    assert answer.status_code == 302, wrong(answer.content.decode())
    study = Study.objects.order_by("-pk")[0]
    assert answer.headers["Location"] == f"/studies/{study.pk}/"
    return study


def wrong(page: str) -> list[str]:
    """By field what is told of it."""
    found = re.findall(r'<ul class="errorlist" id="id_(\w+)_error"><li>(.*?)</li></ul>', page)
    return [f"{name}: {html.unescape(says)}" for name, says in found]


# What each sees of them


def test_researchers_see_how_far_all_are(researching: Client, studied: Studied) -> None:
    ann = person("ann")
    give(studied.items[0], ann, FULL)
    page = shown(researching, "/studies/")
    assert f'<a href="/studies/{studied.study.pk}/" dir="auto">a study</a>' in page
    assert '<span class="state study-open">open</span>' in page
    cells = re.findall(r'<td class="number">(.*?)</td>', page)
    assert cells == ["8", "1 of 16", "1"]
    assert "a small SAE" in page
    assert f'href="/score/{studied.study.pk}/"' in page
    assert f'href="/studies/{studied.study.pk}/results/"' in page


def test_annotators_see_no_more_than_names_and_how_far_they_are(
    client: Client, studied: Studied, annotator: User
) -> None:
    item, other = studied.items[:2]
    give(item, person("ben"), FULL)
    client.force_login(annotator)
    slots.say(other, annotator_of(annotator), "a word")
    slots.submit(other, annotator_of(annotator), SOME, uuid4(), note="a note")
    page = main_of(shown(client, "/studies/"))
    assert f'<a href="/score/{studied.study.pk}/" dir="auto">a study</a>' in page
    assert re.findall(r'<span class="count">(.*?)</span>', page) == ["1 of 8", "2 of 16"]
    text = page.lower()
    assert [word for word in TELLING if word in text] == []
    assert studied.study.sae.name.lower() not in text
    assert studied.study.sae.slug.lower() not in text
    assert "14" not in re.sub(r"\d+ of \d+", "", text)
    for address in (
        f"/studies/{studied.study.pk}/",
        f"/studies/{studied.study.pk}/items/{item.key}/",
        "/studies/make/",
    ):
        refused = client.get(address)
        assert refused.status_code == 403
        assert studied.study.sae.name not in refused.content.decode()


def test_what_is_no_longer_open_is_not_offered(client: Client, studied: Studied, annotator: User) -> None:
    study_of(studied.explored.sae, [SubjectKind.FEATURE])  # a draft
    studies.close(studied.study)
    client.force_login(annotator)
    page = shown(client, "/studies/")
    assert "Nothing to score" in page
    assert "a study" not in main_of(page)


def test_everybody_sees_those_whose_scores_are_shown(client: Client, studied: Studied, settings: Settings) -> None:
    settings.OPEN_READING = True
    studies.close(studied.study)
    assert "a study" not in main_of(shown(client, "/studies/"))
    studies.show(studied.study, True)
    page = shown(client, "/studies/")
    assert f'<a href="/studies/{studied.study.pk}/results/" dir="auto">a study</a>' in page
    assert "To score" not in page


def test_whoever_has_signed_in_finds_the_way(looking: Client, settings: Settings) -> None:
    assert '<a href="/studies/" >Studies</a>' in shown(looking, "/")
    settings.OPEN_READING = True
    assert 'href="/studies/"' not in shown(Client(), "/")


def test_studies_are_paged(researching: Client, explored: Explored) -> None:
    for each in range(51):
        Study.objects.filter(pk=study_of(explored.sae, []).pk).update(name=f"study {each}")
    page = shown(researching, "/studies/")
    assert page.count('<td class="long">') == 50
    (below,) = re.findall(r"\?below=(\d+)", page)
    assert "study 0<" in shown(researching, f"/studies/?below={below}")
    assert "No earlier studies" in shown(researching, "/studies/?below=1")
    assert "below: Enter a whole number." in shown(researching, "/studies/?below=x")


# Making one


def test_one_is_made_with_the_job_that_prepares_it(researching: Client, researcher: User, explored: Explored) -> None:
    study = made(researching, name=f" {SCRIPT} ")
    published = rubrics.published()
    assert (study.name, study.sae, study.lm, study.rubric) == (SCRIPT, explored.sae, explored.sae.lm, published)
    assert (study.state, study.staged, study.per_item, study.seed) == (StudyState.DRAFT, True, 3, 5)
    assert (study.intervals, study.controls) == ([0, 4], {"neuron": 6, "shuffled": 2})
    assert study.sample == {"how": "uniform", "n": 12}
    assert study.guidelines == published.guidelines
    assert study.created_by == researcher
    job = Job.objects.get()
    assert (study.job, job.kind, job.queue) == (job, "study", "batch")
    assert job.arguments == {"study": study.pk, "untrained": None, "practice": True}
    page = shown(researching, f"/studies/{study.pk}/")
    assert SCRIPT not in page
    assert f'data-job="{job.pk}" data-state="queued" data-live data-url="/jobs/{job.pk}/panel/"' in page
    assert f'hx-get="/studies/{study.pk}/" hx-trigger="job-state from:document delay:300ms"' in page
    assert "Open it" not in page


def test_it_is_as_it_was_asked_for(researching: Client, explored: Explored, admin: User) -> None:
    kept = lists.make("theirs", shared=True, by=admin)
    lists.keep_many(kept, [(explored.sae.pk, index) for index in range(20)], by=admin)
    study = made(researching, how="list", list=kept.pk, n=4, neuron=4, staged="no", practice="", guidelines="# Look")
    assert study.sample == {"how": "list", "n": 4, "list": kept.pk}
    assert (study.staged, study.guidelines) == (False, "# Look")
    assert Job.objects.get().arguments["practice"] is False
    assert made(researching, how="density").sample == {"how": "density", "n": 12}


@pytest.mark.parametrize(
    "text",
    [
        "sort=maximum&density_min=1e-3&columns=label&after=4",
        "?sort=maximum&density_min=1e-3",
        "/saes/a-small-SAE/features/?sort=maximum&density_min=1e-3&words=",
        "https://some.where/at/saes/a-small-SAE/features/?sort=maximum&density_min=1e-3&fires=#top",
    ],
)
def test_a_filter_of_the_browser_says_which(researching: Client, explored: Explored, text: str) -> None:
    study = made(researching, how="filter", filter=text, in_order="on", n=3, neuron=0, shuffled=0)
    assert (study.sample["filter"], study.sample["in_order"]) == ("sort=maximum&density_min=1e-3", True)
    page = shown(researching, f"{explored.page}features/?sort=maximum&density_min=1e-3&fires=yes")
    there = [int(index) for index in re.findall(r'class="whole" href="[^"]*?/features/(\d+)/', page)]
    assert sampled(study) == there[:3]
    link = f'href="{explored.page}features/?sort=maximum&amp;density_min=1e-3"'
    assert link in shown(researching, f"/studies/{study.pk}/")


def test_the_browser_leads_to_it_with_its_filter(researching: Client, explored: Explored) -> None:
    page = shown(researching, f"{explored.page}features/?density_max=0.5&sort=maximum&columns=label&at=3")
    (way,) = re.findall(r'<a href="(/studies/make/\?[^"]*)">Score these</a>', page)
    assert html.unescape(way) == "/studies/make/?density_max=0.5&sort=maximum&sae=a-small-SAE"
    making = shown(researching, html.unescape(way))
    assert 'name="filter" value="density_max=0.5&amp;sort=maximum"' in making
    assert '<option value="a-small-SAE" selected>' in making
    assert re.search(r'name="how" value="filter"[^>]* checked', making)
    plain = shown(researching, "/studies/make/?sae=a-small-SAE")
    assert re.search(r'name="how" value="uniform"[^>]* checked', plain)


def test_only_researchers_are_led_to_it(looking: Client, explored: Explored) -> None:
    assert "Score these" not in shown(looking, f"{explored.page}features/")


def test_it_begins_with_the_guidelines_of_a_rubric(researching: Client, researcher: User, explored: Explored) -> None:
    first = rubrics.published()
    other = rubrics.revise(first, first.criteria, 9, "Other ones.", by=researcher)
    assert ">Other ones.</textarea>" in shown(researching, "/studies/make/").replace("\r\n", "").replace("\n", "")
    page = shown(researching, f"/studies/make/?rubric={first.pk}")
    assert f'<option value="{first.pk}" selected>' in page
    assert "narrowest description" in page
    sent = first.guidelines.replace("\n", "\r\n")
    assert made(researching, rubric=other.pk, guidelines=sent).guidelines == "Other ones."
    assert made(researching, rubric=first.pk, guidelines=sent).guidelines == first.guidelines
    assert made(researching, rubric=other.pk, guidelines="Mine.").guidelines == "Mine."


def test_neurons_are_called_what_they_are(researching: Client, explored: Explored) -> None:
    assert "In the residual stream, basis dimensions." in shown(researching, "/studies/make/")
    assert "Basis dimensions</label>" in shown(researching, "/studies/make/?sae=a-small-SAE")
    study = made(researching)
    study_of(explored.sae, [])
    Study.objects.filter(pk=study.pk).update(job=None)
    Sae.objects.update(hookpoint="blocks.1.mlp.hook_post")
    page = shown(researching, "/studies/make/?sae=a-small-SAE")
    assert "Neurons</label>" in page
    assert "asis dimensions" not in page


@pytest.fixture
def untrained(explored: Explored) -> Sae:
    """An SAE of another lm, over the same text."""
    lm = LanguageModel.objects.get()
    lm.pk, lm.slug, lm.fingerprint = None, "again", "f" * 64
    lm.save()
    other = Sae.objects.get(pk=explored.sae.pk)
    other.pk, other.slug, other.name, other.lm = None, "untrained", "an untrained SAE", lm
    other.save()
    collection = Collection.objects.get()
    collection.pk, collection.sae = None, other
    collection.save()
    return other


def test_controls_of_an_untrained_lm_are_of_a_chosen_sae(researching: Client, untrained: Sae) -> None:
    made(researching, untrained=3, untrained_sae="untrained")
    assert Job.objects.get().arguments["untrained"] == untrained.pk
    assert Study.objects.get().controls["untrained"] == 3
    made(researching, untrained=0, untrained_sae="untrained")
    assert Job.objects.latest("pk").arguments["untrained"] is None


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"name": ""}, "name: This field is required."),
        ({"name": "x" * 201}, "name: Ensure this value has at most 200 characters (it has 201)."),
        ({"name": "a\x00"}, "name: Null characters are not allowed."),
        ({"sae": "gone"}, "sae: Select a valid choice. That choice is not one of the available choices."),
        ({"rubric": "0"}, "rubric: Select a valid choice. That choice is not one of the available choices."),
        ({"how": "by chance"}, "how: Select a valid choice. by chance is not one of the available choices."),
        ({"n": 0}, "n: Ensure this value is greater than or equal to 1."),
        ({"n": 2001}, "n: Ensure this value is less than or equal to 2000."),
        ({"intervals": []}, "intervals: This field is required."),
        ({"intervals": [5]}, "intervals: Select a valid choice. 5 is not one of the available choices."),
        ({"per_item": 21}, "per_item: Ensure this value is less than or equal to 20."),
        ({"seed": -1}, "seed: Ensure this value is greater than or equal to 0."),
        ({"how": "list"}, "list: Which one?"),
        ({"how": "list", "list": "9" * 40}, "list: Select a valid choice. That choice is not one of the available"),
        ({"how": "filter"}, "filter: Nothing in it filters or sorts features."),
        ({"how": "filter", "filter": "after=3"}, "filter: Nothing in it filters or sorts features."),
        ({"how": "filter", "filter": "density_min=x"}, "filter: density_min: Enter a number."),
        ({"how": "filter", "filter": "list=99"}, "filter: list: Select a valid choice."),
        ({"how": "filter", "filter": "/saes/other/features/?fires=yes"}, "filter: This is an address of another SAE,"),
        ({"how": "filter", "filter": "http://[?fires=yes"}, "filter: This is no address of the browser."),
        ({"how": "filter", "filter": "&" * 1500}, "filter: This is no address of the browser."),
        ({"how": "filter", "filter": "fires=never"}, "filter: No feature of a small SAE that fires fits this filter."),
        ({"neuron": 13}, "neuron: Each goes with a feature of its own, and there are 12 of these."),
        ({"untrained": 1}, "untrained_sae: Which one?"),
        ({"untrained": 1, "untrained_sae": "a-small-SAE"}, "untrained_sae: Select a valid choice."),
    ],
)
def test_what_cannot_be_made_is_told(
    researching: Client, explored: Explored, sent: dict[str, object], told: str
) -> None:
    answer = researching.post("/studies/make/", asked(**sent))
    assert answer.status_code == 422
    assert [says for says in wrong(answer.content.decode()) if says.startswith(told)]
    assert not Study.objects.exists()
    assert not Job.objects.exists()


def test_an_sae_that_does_not_fit_is_told(researching: Client, untrained: Sae) -> None:
    answer = researching.post("/studies/make/", asked(untrained=1, untrained_sae="a-small-SAE"))
    says = "untrained_sae: It is of the same lm, or was not read over the text of a small SAE."
    assert wrong(answer.content.decode()) == [says]


def test_there_is_room_for_so_many(researching: Client, explored: Explored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.forms.study_making.MOST_SUBJECTS", 19)
    monkeypatch.setattr("explorer.forms.study_making.MOST_SEATS", 119)
    answer = researching.post("/studies/make/", asked())
    assert wrong(answer.content.decode()) == [
        "n: With the controls that makes 20, and 19 are the most.",
        "per_item: That makes 120 scores to give, and 119 are the most.",
    ]


def test_where_nothing_was_read_there_is_nothing_to_choose(researching: Client) -> None:
    page = shown(researching, "/studies/make/")
    assert page.count("<option") == 3  # no SAE, the rubric, no list
    assert "none was read over text" in page


def test_a_list_of_somebody_else_is_no_choice(researching: Client, explored: Explored, viewer: User) -> None:
    secret = lists.make("secret", shared=False, by=viewer)
    lists.keep(secret, explored.sae, 5, by=viewer)
    assert "secret" not in shown(researching, "/studies/make/")
    assert researching.post("/studies/make/", asked(how="list", list=secret.pk)).status_code == 422


# One that is made


@pytest.fixture
def draft(explored: Explored, researcher: User) -> Study:
    """Two features and controls of two kinds, with evidence, one of them of practice."""
    kinds = [SubjectKind.FEATURE, SubjectKind.NEURON, SubjectKind.FEATURE, SubjectKind.SHUFFLED, SubjectKind.PRACTICE]
    study = study_of(explored.sae, kinds, intervals=(0, 4))
    for number, density in enumerate((0.01, 0.02, 0.03, 0.04, 0.0)):
        study.subjects.filter(number=number).update(density=density)
    first = study.subjects.get(number=0)
    study.subjects.filter(number=1).update(pair=first, about={"axis": 6, "sign": -1})
    study.created_by = researcher
    study.save()
    return study


def test_a_draft_shows_what_it_holds(researching: Client, draft: Study) -> None:
    page = shown(researching, f"/studies/{draft.pk}/")
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', page)
    told = [(kind, *re.findall(r"<td[^>]*>(.*?)</td>", rest)) for kind, rest in rows]
    assert told == [
        ("feature", "2", "4", "0", "0.01", "0.02", "0.03"), ("basis dimension", "1", "2", "0", "0.02", "0.02", "0.02"),
        ("shuffled evidence", "1", "2", "0", "0.04", "0.04", "0.04"), ("practice", "1", "2", "0", "texts of our own"),
        ("in all", "5", "10", ""),
    ]  # fmt: skip
    assert '<a href="/saes/a-small-SAE/features/0/">feature 0</a>' in page
    assert 'basis dimension 6 <span class="quiet">beside 0</span>' in page
    for item in Item.objects.filter(subject__study=draft):
        assert f'href="/studies/{draft.pk}/items/{item.key}/"' in page
    assert "Open it" in page
    assert "Seats" not in page
    assert "5 at most, drawn uniformly from those that fire" in page


def test_it_opens_closes_opens_again_and_shows_its_scores(researching: Client, draft: Study) -> None:
    def sent(way: str, **data: str) -> str:
        answer = researching.post(f"/studies/{draft.pk}/{way}/", data, follow=True)
        assert answer.status_code == 200
        draft.refresh_from_db()
        return answer.content.decode()

    assert "is not open" in sent("close")
    assert "close it first" in sent("show", shown="on")
    assert "0 filled, 0 held, 16 free" in sent("open")
    assert draft.state == StudyState.OPEN
    assert "close it first" in sent("show", shown="on")
    assert "Open it again" in sent("close")
    assert draft.closed_at
    assert "Show its scores no more" in sent("show", shown="on")
    assert draft.shown
    sent("show")
    assert not draft.shown
    sent("show", shown="on")
    edition = Sae.objects.get().edition
    sent("open")
    assert (draft.state, draft.shown) == (StudyState.OPEN, False)  # whoever scores is blind
    assert Sae.objects.get().edition == edition + 1


def test_what_has_no_items_does_not_open(researching: Client, explored: Explored) -> None:
    study = made(researching)
    page = researching.post(f"/studies/{study.pk}/open/", follow=True).content.decode()
    assert "a round has no items yet." in page
    Study.objects.update(job=None)
    assert "Remove it, and make it anew." in shown(researching, f"/studies/{study.pk}/")


def test_it_shows_how_far_each_item_is(researching: Client, studied: Studied) -> None:
    ann, ben = person("ann"), person("ben")
    first, second, third = studied.items[:3]
    slots.say(first, ann, "a word")
    slots.submit(first, ann, SOME, uuid4(), note=SCRIPT, flagged=True)
    slots.skip(second, ann, f"I cannot read {SCRIPT}")
    slots.save(third, ben, {})
    page = shown(researching, f"/studies/{studied.study.pk}/")
    assert "1 filled, 1 held, 14 free" in page
    assert f'{first.key}/">1 of 2<' in page
    assert f'{third.key}/">0 of 2<span class="unseen"> at 1</span></a> <span class="quiet">1 held</span>' in page
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") == 2
    assert "<bdi>ann</bdi>" in page
    assert "I cannot read" in page


def test_subjects_are_paged(researching: Client, explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * 51)
    page = shown(researching, f"/studies/{study.pk}/")
    assert page.count('href="/saes/a-small-SAE/features/') == 50
    assert f'href="/studies/{study.pk}/?after=49"' in page
    rest = shown(researching, f"/studies/{study.pk}/?after=49")
    assert rest.count('href="/saes/a-small-SAE/features/') == 1
    assert "No more items" in shown(researching, f"/studies/{study.pk}/?after=50")
    assert "after: Enter a whole number." in shown(researching, f"/studies/{study.pk}/?after=x")


def test_its_name_and_while_it_is_a_draft_its_guidelines_are_changed(researching: Client, draft: Study) -> None:
    address = f"/studies/{draft.pk}/change/"
    researching.post(address, {"name": " New  name ", "guidelines": f"*Look* {SCRIPT}"})
    draft.refresh_from_db()
    assert (draft.name, draft.guidelines) == ("New name", f"*Look* {SCRIPT}")
    page = shown(researching, f"/studies/{draft.pk}/")
    assert "<em>Look</em>" in page
    assert SCRIPT not in page
    studies.open_(draft)
    assert 'name="guidelines"' not in shown(researching, f"/studies/{draft.pk}/")
    researching.post(address, {"name": "Newer", "guidelines": "others"})
    draft.refresh_from_db()
    assert (draft.name, draft.guidelines) == ("Newer", f"*Look* {SCRIPT}")
    answer = researching.post(address, {"name": "x" * 201})
    assert answer.status_code == 422
    assert wrong(answer.content.decode()) == ["name: Ensure this value has at most 200 characters (it has 201)."]


def test_it_is_changed_by_whoever_made_it_or_an_administrator(
    client: Client, draft: Study, admin: User, viewer: User
) -> None:
    set_role(viewer.pk, Role.RESEARCHER, by=admin)
    client.force_login(User.objects.get(pk=viewer.pk))
    page = shown(client, f"/studies/{draft.pk}/")
    assert "Open it" not in page
    assert "Remove this study" not in page
    item = Item.objects.filter(subject__study=draft)[0]
    assert "Keep this as the answer" not in shown(client, f"/studies/{draft.pk}/items/{item.key}/")
    for way in ("change", "open", "close", "show", "remove", f"items/{item.key}/known", f"items/{item.key}/unknown"):
        assert client.post(f"/studies/{draft.pk}/{way}/", {"name": "mine"}).status_code == 403
    client.force_login(admin)
    assert client.post(f"/studies/{draft.pk}/change/", {"name": "theirs"}).status_code == 302


def test_it_is_removed_with_its_scores(researching: Client, draft: Study) -> None:
    studies.open_(draft)
    give(Item.objects.filter(subject__study=draft, subject__kind=SubjectKind.FEATURE)[0], person("ann"), FULL)
    page = shown(researching, f"/studies/{draft.pk}/")
    assert 'data-confirm="Remove a study?" data-consequence="Its 1 scores and all hypotheses go with it' in page
    assert researching.post(f"/studies/{draft.pk}/remove/").headers["Location"] == "/studies/"
    assert not Study.objects.exists()
    noted = AuditEntry.objects.get(action="study removed")
    assert (noted.subject, noted.actor, noted.details) == ("a study", "researcher", {"sae": "a-small-SAE", "scores": 1})
    assert researching.get(f"/studies/{draft.pk}/").status_code == 404


def test_with_a_study_the_job_that_prepares_it_ends(researching: Client, explored: Explored) -> None:
    study = made(researching)
    researching.post(f"/studies/{study.pk}/remove/")
    assert Job.objects.get().state == "cancelled"


def test_an_sae_that_is_scored_is_not_removed(client: Client, draft: Study, admin: User) -> None:
    client.force_login(admin)
    page = client.post("/saes/a-small-SAE/remove/", follow=True).content.decode()
    assert "a small SAE is scored in a study. Take the scores home and remove that first." in page
    studies.remove(draft, by=admin, address="")
    remove_sae(draft.sae, by=admin, address="")
    assert not Sae.objects.exists()


# Its items


def test_an_item_is_shown_as_annotators_see_it_and_what_it_is(researching: Client, draft: Study) -> None:
    keys = [f"k{draft.pk}-{number}-{interval}" for number in range(5) for interval in (4, 0)]
    page = shown(researching, f"/studies/{draft.pk}/items/{keys[2]}/")
    assert page.count('class="group"') == 5 + 1
    assert page.count('<li><div class="text"') == 5 * 2 + 2
    assert "Tokens that it raises most" in page
    truth = page[page.index('class="truth"') : page.index('class="answer"')]
    assert "basis dimension 6" in truth
    assert "<dt>axis</dt><dd>6</dd>" in truth
    assert "<dt>Density</dt><dd>0.02</dd>" in truth
    assert f'<a rel="prev" href="/studies/{draft.pk}/items/{keys[1]}/"' in page
    assert f'<a rel="next" href="/studies/{draft.pk}/items/{keys[3]}/"' in page
    assert 'rel="prev"' not in shown(researching, f"/studies/{draft.pk}/items/{keys[0]}/")
    assert 'rel="next"' not in shown(researching, f"/studies/{draft.pk}/items/{keys[-1]}/")
    assert researching.get(f"/studies/{draft.pk}/items/other/").status_code == 404


def test_a_known_answer_makes_it_a_gold_item(researching: Client, draft: Study) -> None:
    item = Item.objects.get(key=f"k{draft.pk}-0-4")
    address = f"/studies/{draft.pk}/items/{item.key}/"
    points = {f"points_{key}": "" if value is None else value for key, value in FULL.items()}
    answer = researching.post(f"{address}known/", points | {"why": f" plain {SCRIPT}"})
    assert answer.headers["Location"] == address
    item.refresh_from_db()
    assert item.known == {"points": FULL, "why": f"plain {SCRIPT}"}
    page = shown(researching, address)
    assert '<span class="tag">14 points</span>' in page
    assert re.search(r'<option value="5" selected>5: All are', page)
    assert SCRIPT not in page
    assert '<span class="tag">answer</span>' in shown(researching, f"/studies/{draft.pk}/")
    researching.post(f"{address}unknown/")
    item.refresh_from_db()
    assert item.known is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"points_logits": ""}, ["points_logits: Logits: no points", "points_gap: Gap: no points are given."]),
        ({"points_logits": "2"}, ["points_gap: Gap: no points are given."]),
        ({"points_confidence": "4"}, ["points_confidence: Select a valid choice. 4 is not one of the available"]),
        ({"points_confidence": "\x00"}, ["points_confidence: Select a valid choice. \x00 is not one of the available"]),
        ({"why": "x" * 2001}, ["why: Ensure this value has at most 2000 characters (it has 2001)."]),
    ],
)
def test_points_that_there_are_not_are_told(
    researching: Client, draft: Study, changes: dict[str, str], told: list[str]
) -> None:
    points = {f"points_{key}": "" if value is None else str(value) for key, value in FULL.items()}
    answer = researching.post(f"/studies/{draft.pk}/items/k{draft.pk}-0-4/known/", points | changes)
    assert answer.status_code == 422
    found = re.findall(r'<ul class="errorlist" id="known_(\w+)_error"><li>(.*?)</li></ul>', answer.content.decode())
    for (name, says), each in zip(found, told, strict=True):
        assert f"{name}: {html.unescape(says)}".startswith(each)
    assert not Item.objects.filter(known__isnull=False).exists()


def test_an_answer_stays_as_it_was_once_somebody_has_scored(researching: Client, draft: Study) -> None:
    studies.open_(draft)
    item = Item.objects.select_related("subject__study").get(key=f"k{draft.pk}-0-4")
    studies.know(item, FULL, "why")
    give(item, person("ann"), SOME)
    address = f"/studies/{draft.pk}/items/{item.key}/"
    points = {f"points_{key}": value for key, value in SOME.items()}
    for way in ("known", "unknown"):
        assert (
            "its answer stays as it was then"
            in researching.post(f"{address}{way}/", points, follow=True).content.decode()
        )
    item.refresh_from_db()
    assert item.known["points"] == FULL
    page = shown(researching, address)
    assert "Take it away" not in page
    assert "<dt>Gap</dt><dd>does not apply</dd>" in page


def test_practice_is_not_without_its_answer(researching: Client, draft: Study) -> None:
    address = f"/studies/{draft.pk}/items/k{draft.pk}-4-4/"
    Item.objects.filter(key=f"k{draft.pk}-4-4").update(known={"points": SOME, "why": "", "hypothesis": "a word"})
    assert "Take it away" not in shown(researching, address)
    assert "each has one" in researching.post(f"{address}unknown/", follow=True).content.decode()
    points = {f"points_{key}": "" if value is None else value for key, value in FULL.items()}
    researching.post(f"{address}known/", points | {"why": "so"})
    assert Item.objects.get(known__isnull=False).known == {"points": FULL, "why": "so", "hypothesis": "a word"}


# Any number, and anything at all


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    client: Client, researcher: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    ann = person("ann")
    for _ in range(n):
        study = study_of(explored.sae, [SubjectKind.FEATURE] * n, intervals=(0, 4))
        studies.open_(study)
        for item in Item.objects.filter(subject__study=study, interval=4).select_related("subject__study"):
            slots.say(item, ann, "a word")
            slots.submit(item, ann, SOME, uuid4(), flagged=True)
    item = Item.objects.filter(subject__study=study)[0]
    client.force_login(researcher)
    with django_assert_num_queries(3):  # session, user; studies
        client.get("/studies/")
    # session, user, study; kinds; subjects, items, intervals of practice; seats, flags, skips
    with django_assert_num_queries(10):
        client.get(f"/studies/{study.pk}/")
    with django_assert_num_queries(6):  # session, user, item; before, after; scores
        client.get(f"/studies/{study.pk}/items/{item.key}/")
    client.force_login(user_of(ann))
    with django_assert_num_queries(4):  # session, user; open ones, shown ones
        client.get("/studies/")


awkward = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["\x00", "\ud800", "\u202eשלום", "\xff", "9" * 40, "-1", "1e9", "no", "on", "filter", "list", "\n",
                     "?list=%00", "?token=%ff", "density_min=nan", "http://[", "words=%00", "?sort=label&labelled=no"]),
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sent=st.dictionaries(
        st.sampled_from(sorted({*ASKED, "rubric", "list", "filter", "in_order", "untrained_sae"})), awkward
    )
)
def test_nothing_that_is_sent_breaks_a_form(researching: Client, draft: Study, sent: dict[str, str]) -> None:
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in sent.items()}
    assert researching.post("/studies/make/", asked(**sent)).status_code in (302, 422)
    assert researching.post("/studies/make/", sent).status_code == 422
    assert researching.post(f"/studies/{draft.pk}/change/", sent).status_code in (302, 422)
    points = {f"points_{key}": value for key, value in zip(FULL, sent.values(), strict=False)}
    known = f"/studies/{draft.pk}/items/k{draft.pk}-0-4/known/"
    assert researching.post(known, points | {"why": sent.get("name", "")}).status_code in (302, 422)
    assert researching.post(f"/studies/{draft.pk}/show/", {"shown": sent.get("name", "")}).status_code == 302


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=awkward)
def test_nothing_in_an_address_breaks_a_page(researching: Client, draft: Study, value: str) -> None:
    bad = quote(value.encode("utf-8", "surrogatepass"))
    making = [f"/studies/make/?{name}=" for name in ("sae", "rubric", "density_min", "list", "words", "sort")]
    for address in ("/studies/?below=", f"/studies/{draft.pk}/?after=", "/studies/make/?", *making):
        assert researching.get(f"{address}{bad}").status_code == 200
    assert researching.get(f"/studies/{draft.pk}/items/{bad}/").status_code == 404
