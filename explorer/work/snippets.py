"""The piece of text that the library opens on: read with the first SAE that was collected, unless somebody knows a
better one."""

from typing import Any

from explorer.models import Corpus, Job, Sae
from explorer.models.jobs import UNFINISHED, JobState


def there_is_one() -> bool:
    """Or one is on its way."""
    saes = list(Sae.objects.values_list("pk", flat=True))
    q = Job.objects.filter(kind="read_text", arguments__has_key="corpus", arguments__sae__in=saes)
    return q.filter(state__in=(*UNFINISHED, JobState.DONE)).exists()


def of(sae: Sae, corpus: Corpus) -> dict[str, Any]:
    """Not from the beginning, where licences stand."""
    return {"sae": sae.pk, "corpus": corpus.pk, "context": corpus.n_contexts // 90}
