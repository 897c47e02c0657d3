"""An lm writes while features are changed: several texts at once, heard as they come.

Arguments: `steering`, its key. The job's text is one line of JSON for each step: of every text what it has come to
since the line before, null once it has ended. What is kept of the whole is `Steering.result`: `prompt`, the ids that
were read; `first`, the position from which on they are the prompt's own; `texts`, as steering.Asked has them, with what
each has written, token by token, and what the lm as it is makes of that.
"""

import codecs
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from explorer.models import Sae, Steering
from explorer.queries import library
from explorer.queries import steerings as queries
from explorer.steering import IN_UNITS, Asked, Method, Text, grouped
from explorer.work.attempt import Attempt, Refused, Removed
from explorer.work.opening import lm_of, refusing, sae_of
from explorer.work.reading_text import lead_of
from sae_core import Intervention, Lm, Plan, Run, Sampling, steered
from sae_core import Method as CoreMethod
from sae_core import Sae as CoreSae
from sae_core import Where as CoreWhere
from sae_core.judged import judged, repetition
from sae_core.steer import Written

EVERY = 0.04  # seconds between two lines: what people see as one movement, and PostgreSQL hardly notices


def run(attempt: Attempt) -> dict[str, Any]:
    row = queries.steering(attempt.arguments["steering"])
    if row is None:
        raise Removed("The steering has been removed.")
    asked = Asked.from_json(row.asked)
    with refusing():
        lm, saes = _opened(asked)
        result = _written(attempt, asked, lm, saes)
    with attempt.transaction():
        Steering.objects.filter(pk=row.pk).update(result=result)
    return {"steering": row.key}


def _opened(asked: Asked) -> tuple[Lm, dict[str, tuple[Sae, CoreSae]]]:
    """By slug; refused where one has gone, or is another by now."""
    rows: dict[str, Sae] = {}
    for each in asked.changes:
        row = library.sae(each.sae)
        if row is None or row.fingerprint != each.fingerprint:
            raise Removed(f"{each.sae} has been removed, or is another by now.")
        rows[each.sae] = row
    of_lm = library.lm_by_fingerprint(asked.lm)
    if of_lm is None:
        raise Removed("The language model has been removed.")
    lm = lm_of(of_lm)
    return lm, {slug: (row, sae_of(row, lm)) for slug, row in rows.items()}


def _written(attempt: Attempt, asked: Asked, lm: Lm, saes: dict[str, tuple[Sae, CoreSae]]) -> dict[str, Any]:
    ids, first = _prompt(asked, lm, saes)
    runs = [Run(tuple(_interventions(asked, text, saes)), text.seed, text.control) for text in asked.texts]
    sampling = Sampling(**vars(asked.sampling))
    found: list[list[Written]] = [[] for _ in runs]
    attempt.report(done=0, total=asked.new_tokens, unit="tokens")
    for steps in _told(attempt, lm, steered(lm, Plan(ids, runs, asked.new_tokens, sampling))):
        for own, token in zip(found, steps, strict=True):
            own += [token] if token else []
    watched: dict[CoreSae, list[int]] = {}
    for each in asked.changes:
        latents = watched.setdefault(saes[each.sae][1], [])
        latents += [each.index] if each.index not in latents else []
    slugs = {id(sae): slug for slug, (_, sae) in saes.items()}
    texts = []
    for text, tokens in zip(asked.texts, found, strict=True):
        attempt.check()
        texts.append(vars(text) | _judged(lm, ids, tokens, watched, slugs, asked.new_tokens))
    return {"prompt": ids, "first": first, "texts": texts}


def _prompt(asked: Asked, lm: Lm, saes: dict[str, tuple[Sae, CoreSae]]) -> tuple[list[int], int]:
    tokenizer = lm.tokenizer
    if tokenizer is None:
        raise Refused(f"{lm.name} came without a tokenizer, so it writes no text.")
    if asked.chat:
        if not tokenizer.hf.chat_template:
            raise Refused(f"The tokenizer of {lm.name} has no template for chats; steer it without one.")
        turn = [{"role": "user", "content": asked.prompt}]
        text = tokenizer.hf.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return tokenizer.encode(text), 0
    own = tokenizer.encode(asked.prompt)
    row, sae = next(iter(saes.values()), (None, None))
    lead = lead_of(row, sae, lm)
    return [*lead, *own], len(lead)


def _interventions(asked: Asked, text: Text, saes: dict[str, tuple[Sae, CoreSae]]) -> Iterator[Intervention]:
    for each in grouped(asked.changes) if text.times else ():
        value = 0.0
        if each.method in IN_UNITS:
            value = each.value * text.times
        elif each.method is Method.SCALE:
            value = 1 + (each.value - 1) * text.times
        yield Intervention(saes[each.sae][1], CoreMethod(each.method), each.indices, value, CoreWhere(each.where))


def _told(attempt: Attempt, lm: Lm, writing: Iterator[list[Written | None]]) -> Iterator[list[Written | None]]:
    """As it comes from the lm. The first tokens are said at once."""
    assert lm.tokenizer is not None
    decoders: list[codecs.IncrementalDecoder] = []
    pieces: list[str | None] = []
    next_line = 0.0
    for done, steps in enumerate(writing, start=1):
        if not decoders:
            decoders = [codecs.getincrementaldecoder("utf-8")(errors="replace") for _ in steps]
            pieces = [""] * len(steps)
        for number, (token, decoder) in enumerate(zip(steps, decoders, strict=True)):
            if token and (so_far := pieces[number]) is not None:
                pieces[number] = so_far + decoder.decode(lm.tokenizer.token_bytes(token.id))
        if time.monotonic() >= next_line or done == 1:
            attempt.emit(json.dumps(pieces, ensure_ascii=False) + "\n")
            if done == 1:
                attempt.flush()  # for a stream that comes only now, and finds the row
            pieces = ["" if token else None for token in steps]
            next_line = time.monotonic() + EVERY
        attempt.report(done=done)
        yield steps
    if any(pieces):
        attempt.emit(json.dumps(pieces, ensure_ascii=False) + "\n")


def _judged(
    lm: Lm, prompt: Sequence[int], tokens: Sequence[Written], watched: dict[CoreSae, list[int]], slugs: dict[int, str],
    new_tokens: int,
) -> dict[str, Any]:  # fmt: skip
    own = [each.id for each in tokens]
    found = judged(lm, [*prompt, *own], len(prompt), watched)
    activations = {
        f"{slugs[id(sae)]}:{latent}": [_short(act) for act in acts]
        for (sae, latents), rows in zip(watched.items(), found.activations, strict=True)
        for latent, acts in zip(latents, rows, strict=True)
    }
    return {
        "ids": own,
        "p": [_short(each.p) for each in tokens],
        "alternatives": [[[other.id, _short(other.p)] for other in each.alternatives] for each in tokens],
        "losses": [_short(loss) for loss in found.losses],
        "perplexity": None if found.perplexity is None else _short(found.perplexity),
        "repetition": _short(repetition(own)),
        "ended": len(own) < new_tokens,
        "activations": activations,  # of the prompt's tokens and its own
    }


def _short(number: float) -> float:
    return float(f"{number:.5g}")
