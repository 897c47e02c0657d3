"""Labels are added, never changed: the newest is what a feature is called."""

import pytest
from django.contrib.auth.models import User

from explorer.actions import labels
from explorer.models import Label, LanguageModel, Sae
from explorer.queries import browsing

pytestmark = pytest.mark.django_db


@pytest.fixture
def sae(db: None) -> Sae:
    lm = LanguageModel.objects.create(
        slug="lm", name="lm", source="lm", fingerprint="f", kind="gpt2", n_layers=1, d_model=4, n_vocab=8
    )
    return Sae.objects.create(
        slug="sae", name="sae", lm=lm, hookpoint="blocks.0.hook_resid_post", family="relu", d_in=4, d_out=4,
        n_latents=8, config={}, fingerprint="f",
    )  # fmt: skip


def test_the_newest_counts_and_the_others_stay(sae: Sae, viewer: User, admin: User) -> None:
    for text, by in (("negation", viewer), ("negation, in French", admin), ("", viewer)):
        labels.give(sae, 3, text, by=by)
    labels.give(sae, 5, "years", by=viewer)
    history = Label.objects.filter(sae=sae, index=3).order_by("pk").values_list("text", "author__username")
    assert list(history) == [("negation", "viewer"), ("negation, in French", "admin"), ("", "viewer")]
    assert browsing.labels_of(sae, [3, 4, 5]) == {3: "", 5: "years"}


def test_the_same_again_is_no_news(sae: Sae, viewer: User, admin: User) -> None:
    assert labels.give(sae, 3, "", by=viewer) is None
    first = labels.give(sae, 3, "negation", by=viewer)
    assert labels.give(sae, 3, "negation", by=admin) == first
    assert Label.objects.count() == 1
