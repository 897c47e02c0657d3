"""A text somebody pasted, or a piece of a corpus, run through an lm and an SAE: what fires where, and of what each
token's activation is made.

Arguments: `sae`; `text`, or `corpus` with the `context` of it whose beginning is read; `feature`, one that is asked
about by itself. The result is `sae`, its slug; `ids`; `first`, the position from which on tokens are the text's own;
and what sae_core.reading says of them.
"""

from typing import Any

from django.conf import settings

from explorer.models import Corpus, Sae
from explorer.queries import contexts as context_queries
from explorer.queries import library
from explorer.work.attempt import Attempt, Refused, Removed
from explorer.work.opening import lm_of, refusing, sae_of
from sae_core import Lm
from sae_core import Sae as CoreSae
from sae_core.reading import reading

EXCERPT = 48  # tokens of a corpus


def run(attempt: Attempt) -> dict[str, Any]:
    row = Sae.objects.select_related("lm").filter(pk=attempt.arguments["sae"]).first()
    found = library.sae(row.slug) if row else None
    if found is None:
        raise Removed("The SAE has been removed.")
    with refusing():
        lm = lm_of(found.lm)
        sae = sae_of(found, lm)
        ids, first = _ids(attempt.arguments, found, lm, sae)
        also = [attempt.arguments["feature"]] if "feature" in attempt.arguments else []
        read = reading(lm, sae, ids, set(found.lm.mask_ids), also)
        return {"sae": found.slug, "ids": ids, "first": first} | read


def _ids(arguments: dict[str, Any], row: Sae, lm: Lm, sae: CoreSae) -> tuple[list[int], int]:
    """The tokens that are read, and the position of the first that is the text's own."""
    if "corpus" in arguments:
        return _excerpt(arguments)
    if lm.tokenizer is None:
        raise Refused(f"{row.lm.name} came without a tokenizer, so it reads no text.")
    ids = lm.tokenizer.encode(arguments["text"])
    lead = lead_of(row, sae, lm)
    most = min(settings.TEXT_TOKENS, (lm.max_length or settings.TEXT_TOKENS) - len(lead))
    if len(ids) > most:
        raise Refused(f"The text is {len(ids):,} tokens long; at most {most:,} are read at a time. Take a part of it.")
    if not ids:
        raise Refused("There is no token in the text.")
    return lead + ids, len(lead)


def lead_of(row: Sae | None, sae: CoreSae | None, lm: Lm) -> list[int]:
    """What stands before a text: a beginning-of-text token where the SAE is used to one."""
    bos = lm.bos_id if lm.tokenizer is None or lm.tokenizer.bos_id is None else lm.tokenizer.bos_id
    begins = row is None or sae is None or _begins(row, sae)
    return [bos] if begins and bos is not None else []


def _begins(row: Sae, sae: CoreSae) -> bool:
    """Whether texts begin with a beginning-of-text token: as the SAE was trained, else as it was collected."""
    if sae.config.prepend_bos is not None:
        return sae.config.prepend_bos
    collection = library.newest(row)
    return collection.corpus.prepend_bos if collection else True


def _excerpt(arguments: dict[str, Any]) -> tuple[list[int], int]:
    corpus = Corpus.objects.filter(pk=arguments["corpus"]).first()
    if corpus is None:
        raise Removed("The text has been removed.")
    context = context_queries.contexts(corpus, {arguments["context"]})[arguments["context"]]
    return list(context.ids[:EXCERPT]), int(corpus.prepend_bos)
