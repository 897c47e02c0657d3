"""An lm writes while features are changed: several texts at once, heard as they come.

Arguments: `steering`, its key. The job's text is one line of JSON for each step: of every text what it has come to
since the line before, null once it has ended. What is kept of the whole is `Steering.result`: `prompt`, the ids that
were read; `first`, the position from which on they are the prompt's own; `texts`, as steering.Asked has them, with what
each has written, token by token, and what the lm as it is makes of that; and with a `prompt` of its own where a text
was but prompted.
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
from sae_core import Intervention, Lm, Plan, Run, Sampling
from sae_core import Method as CoreMethod
from sae_core import Sae as CoreSae
from sae_core import Where as CoreWhere
from sae_core.judged import judged, repetition
from sae_core.steer import Step, Written, steered_as_fits

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
    ids, first = _prompt(asked, asked.prompt, lm, saes)
    runs = [Run(tuple(_interventions(asked, text, saes)), text.seed, text.control) for text in asked.texts]
    n_changed = sum(not text.prompted for text in asked.texts)
    told = _prompt(asked, f"{asked.instruction}\n\n{asked.prompt}", lm, saes)[0] if n_changed < len(runs) else []
    sampling = Sampling(**vars(asked.sampling))
    found: list[list[Written]] = [[] for _ in runs]
    attempt.report(done=0, total=asked.new_tokens, unit="tokens")
    telling = _Telling(attempt, lm, len(runs))
    for prompt, some, place in ((ids, runs[:n_changed], 0), (told, runs[n_changed:], n_changed)):
        plan = Plan(prompt, some, asked.new_tokens, sampling)
        for step in steered_as_fits(lm, plan, place) if some else ():
            for number, token in enumerate(step.tokens, start=step.first):
                found[number][step.number :] = [token] if token else []
            telling.hear(step)
    telling.say()
    watched: dict[CoreSae, list[int]] = {}
    for each in asked.changes:
        latents = watched.setdefault(saes[each.sae][1], [])
        latents += [each.index] if each.index not in latents else []
    slugs = {id(sae): slug for slug, (_, sae) in saes.items()}
    texts = []
    for text, tokens in zip(asked.texts, found, strict=True):
        attempt.check()
        prompt = told if text.prompted else ids
        about = vars(text) | ({"prompt": told} if text.prompted else {})
        texts.append(about | _judged(lm, prompt, tokens, watched, slugs, asked.new_tokens))
    return {"prompt": ids, "first": first, "texts": texts}


def _prompt(asked: Asked, text: str, lm: Lm, saes: dict[str, tuple[Sae, CoreSae]]) -> tuple[list[int], int]:
    tokenizer = lm.tokenizer
    if tokenizer is None:
        raise Refused(f"{lm.name} came without a tokenizer, so it writes no text.")
    if asked.chat:
        if not tokenizer.hf.chat_template:
            raise Refused(f"The tokenizer of {lm.name} has no template for chats; steer it without one.")
        turn = [{"role": "user", "content": text}]
        templated = tokenizer.hf.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return tokenizer.encode(templated), 0
    own = tokenizer.encode(text)
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


class _Telling:
    """As it comes from the lm. The first tokens are said at once, and nothing that is written again is said again."""

    def __init__(self, attempt: Attempt, lm: Lm, n_texts: int) -> None:
        assert lm.tokenizer is not None
        self._attempt, self._tokenizer = attempt, lm.tokenizer
        self._decoders = [codecs.getincrementaldecoder("utf-8")(errors="replace") for _ in range(n_texts)]
        self._heard = [0] * n_texts  # steps
        self._ended = [False] * n_texts
        self._pieces: list[str | None] = [""] * n_texts
        self._next_line = 0.0

    def hear(self, step: Step) -> None:
        for number, token in enumerate(step.tokens, start=step.first):
            if step.number < self._heard[number]:
                continue
            self._heard[number] += 1
            self._ended[number] = token is None
            if token:
                new = self._decoders[number].decode(self._tokenizer.token_bytes(token.id))
                self._pieces[number] = (self._pieces[number] or "") + new
        if time.monotonic() >= self._next_line:
            self.say()
        self._attempt.report(done=sum(self._heard) // len(self._heard))

    def say(self) -> None:
        if not any(self._pieces):
            return
        self._attempt.emit(json.dumps(self._pieces, ensure_ascii=False) + "\n")
        if not self._next_line:
            self._attempt.flush()  # for a stream that comes only now, and finds the row
        self._pieces = [None if ended else "" for ended in self._ended]
        self._next_line = time.monotonic() + EVERY


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
