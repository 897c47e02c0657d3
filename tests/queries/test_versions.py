import pytest

from explorer.actions import labels
from explorer.models import Collection
from explorer.queries import versions
from tests.explored import Explored
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db


def test_what_pages_of_an_sae_depend_on(explored: Explored) -> None:
    sae = explored.sae
    seen = [versions.of_sae(sae.slug)]
    assert seen[0] == (sae.pk, explored.collection.pk, None)
    labels.give(sae, 1, "rivers", by=None)
    seen.append(versions.of_sae(sae.slug))
    labels.give(sae, 1, "", by=None)
    seen.append(versions.of_sae(sae.slug))
    other = sae_row(explored.read.lm, explored.read.sae, "another")
    labels.give(other, 1, "of another", by=None)
    assert versions.of_sae(sae.slug) == seen[-1]
    Collection.objects.all().delete()
    seen.append(versions.of_sae(sae.slug))
    assert len(set(seen)) == len(seen)


def test_of_none() -> None:
    assert versions.of_sae("nothing") is None
