"""Three people score a study, by keys alone, to its results."""

from datetime import timedelta

import krippendorff
import numpy as np
import pytest
from django.conf import settings
from django.db.models.functions import Now
from playwright.sync_api import BrowserContext, Page, expect

from explorer.actions import studies
from explorer.models import Annotator, Draft, Item, Score, Slot, Study
from explorer.models.access import Role
from explorer.models.studies import SubjectKind
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import Explored, explored, read
from tests.processes import Web
from tests.studied import person, study_of

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]


@pytest.fixture
def study(explored: Explored) -> Study:
    """Twelve items: three features and three neurons, in two intervals each; two annotators an item."""
    kinds = [SubjectKind.FEATURE, SubjectKind.NEURON] * 3
    made = study_of(explored.sae, kinds, intervals=(1, 4), guidelines="Say **what** fires.")
    studies.open_(made)
    return made


def signed_in(context: BrowserContext, web: Web, who: Annotator) -> Page:
    assert who.user
    value = cookie_of(who.user)["Cookie"].split("=", 1)[1]
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    return context.new_page()


class Scorer:
    """Somebody who never touches the mouse."""

    def __init__(self, page: Page, web: Web, study: Study) -> None:
        self.page = page
        page.goto(f"{web.address}/score/{study.pk}/")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def begin(self) -> Item:
        self.press("Enter")
        return self.item()

    def item(self) -> Item:
        expect(self.page.locator(".give")).to_be_visible()
        key = self.page.url.rstrip("/").rpartition("/")[2]
        return Item.objects.select_related("subject").get(key=key)

    def say(self, text: str) -> None:
        expect(self.page.get_by_label("What fires here?")).to_be_focused()
        self.page.keyboard.type(text)
        self.press("Enter")
        expect(self.page.locator(".said blockquote")).to_have_text(text)

    def judge(self, *digits: int) -> None:
        """Those that are asked, one after the other; then on."""
        for digit in digits:
            self.press(str(digit))
        self.press("Enter")

    def give(self, confidence: int, activations: int, specificity: int, logits: int, gap: int | None) -> None:
        """All of an item that is new to one."""
        self.judge(confidence, activations, specificity)
        expect(self.page.locator("#raised")).to_be_visible()
        expect(self.page.locator('[data-criterion="logits"]')).to_be_visible()
        rest = [logits] if gap is None else [logits, gap]
        with self.page.expect_navigation():
            self.judge(*rest)


def scored(by: Annotator) -> int:
    return Score.objects.filter(annotator=by, current=True).count()


def test_three_people_score_twelve_items_by_keys_alone(
    context: BrowserContext, web: Web, study: Study, broker_url: None
) -> None:
    browser = context.browser
    assert browser
    ann, ben, cleo = person("ann"), person("ben"), person("cleo")

    # Cleo begins, types, and goes away.
    hers = Scorer(signed_in(browser.new_context(), web, cleo), web, study)
    left = hers.begin()
    hers.page.keyboard.type("half a thou")
    expect(hers.page.locator(".kept")).to_have_text("Kept.")
    hers.page.context.close()
    assert Draft.objects.get(annotator=cleo).given["hypothesis"] == "half a thou"
    Slot.objects.filter(annotator=cleo).update(lease_until=Now() - timedelta(seconds=1))

    for who, gap in ((ann, 1), (ben, 0)):
        his = Scorer(signed_in(browser.new_context(), web, who), web, study)
        item = his.begin()
        assert serious(his.page) == []
        while scored(who) < 12:
            n, feature = scored(who), item.subject.kind == SubjectKind.FEATURE
            if his.page.locator(".saying").count():
                if not feature and who == ben:
                    with his.page.expect_navigation():
                        his.page.keyboard.press("Tab")  # out of the text
                        his.press("n")
                else:
                    his.say(f"it is {item.subject.number}")
                    his.give(3 if feature else 1, 4 if feature else 2, 2, 2, gap)
            elif his.page.locator(".judging").count():  # another interval of the same, of which most is known
                his.page.locator('[data-criterion="activations"] input').first.focus()
                with his.page.expect_navigation():
                    his.judge(1)
            else:
                with his.page.expect_navigation():
                    his.press("Enter")
            assert scored(who) == n + 1
            if who == ann and n == 2:
                with his.page.expect_navigation():
                    his.press("u")
                assert scored(who) == 2
                taken_back = his.item()
                with his.page.expect_navigation():
                    his.judge()
                assert scored(who) == 3
                assert Score.objects.filter(item=taken_back, annotator=who).count() == 2
            if scored(who) < 12:
                item = his.item()
        expect(his.page.locator(".empty")).to_contain_text("You have scored all there is for you")
        his.page.context.close()

    assert not Slot.objects.filter(filled_at=None).exists()
    assert set(Slot.objects.filter(item=left).values_list("annotator__name", flat=True)) == {"ann", "ben"}
    assert Draft.objects.get(annotator=cleo).item == left
    results(signed_in(browser.new_context(), web, person("rita", Role.RESEARCHER)), web, study)


def results(page: Page, web: Web, study: Study) -> None:
    """Closed, the study tells a researcher what anybody computes from its scores."""
    studies.close(study)
    page.goto(f"{web.address}/studies/{study.pk}/results/")
    assert serious(page) == []
    scores = Score.objects.filter(current=True).select_related("item__subject", "annotator")
    items, names = sorted({each.item_id for each in scores}), ["ann", "ben"]
    given = {(each.annotator.name, each.item_id): each for each in scores}
    totals = np.array([[given[name, item].total for item in items] for name in names], float)
    shown = page.get_by_role("region", name="Over all items")

    def figure(of: str, measure: str) -> float:
        row = shown.locator("tr", has=page.get_by_role("cell", name=of, exact=True)).filter(has_text=measure)
        return float(row.locator("td.number").first.inner_text().replace("−", "-"))

    alpha = krippendorff.alpha(reliability_data=totals, level_of_measurement="interval")
    assert figure("total", "alpha (interval)") == pytest.approx(alpha, rel=5e-3)
    above = totals > 8
    assert figure("above the line", "percent agreement") == pytest.approx((above[0] == above[1]).mean(), rel=5e-3)
    for kind in (SubjectKind.FEATURE, SubjectKind.NEURON):
        of_kind = [item for item in items if given["ann", item].item.subject.kind == kind]
        means = np.array([np.mean([given[name, item].total for name in names]) for item in of_kind])
        row = (
            page.get_by_role("region", name="Features beside controls")
            .locator("tbody tr")
            .filter(has_text=str(kind.value))
        )
        median, share = (row.first.locator("td").nth(column).inner_text().split()[0] for column in (4, 5))
        assert float(median) == pytest.approx(np.median(means), rel=5e-3)
        assert float(share.rstrip("%\u202f ")) == pytest.approx(100 * (means > 8).mean(), abs=1)
