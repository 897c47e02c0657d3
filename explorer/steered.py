"""What was written while features were changed (work/steering.py), as a page shows it: texts side by side, as bright as
a feature fires, and what is to be said against them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from explorer.numbers import percent, significant
from explorer.steering import IN_UNITS, Asked, Change, Group, Method, Text, Unit, Where, grouped
from explorer.tokens import Vocabulary, render

REPEATS = 0.4  # of its stretches of four tokens, from which on a text is said to repeat itself
PRINTED = "    print([token and lm.tokenizer.decode([token.id]) for token in tokens])"
UNLIKELY = 8.0  # times the perplexity of the text as it is


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    plain: bool  # nothing is changed
    text: SafeString | None = None  # None: not written yet
    n_tokens: int = 0
    perplexity: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watched:
    """A feature whose activation colours the texts."""

    key: str
    sae: str
    index: int
    chosen: bool


def title(text: Text, texts: Sequence[Text]) -> str:
    if text.prompted:
        named = "Just prompted"
    elif text.control is not None:
        named = "A random direction"
    elif not text.times:
        named = "As it is"
    else:
        named = "Steered" if text.times == 1 else f"{significant(text.times)} × as strongly"
    return f"{named}, seed {text.seed}" if len({each.seed for each in texts}) > 1 else named


def watched(asked: Asked, key: str) -> list[Watched]:
    found = {f"{each.sae}:{each.index}": each for each in asked.changes}
    chosen = key if key in found else next(iter(found))
    return [Watched(name, each.sae, each.index, name == chosen) for name, each in found.items()]


def columns(asked: Asked, result: dict[str, Any] | None, words: Vocabulary, key: str) -> list[Column]:
    titles = [title(each, asked.texts) for each in asked.texts]
    if result is None:
        return [Column(name, _as_it_is(text)) for name, text in zip(titles, asked.texts, strict=True)]
    written = result["texts"]
    n_prompt = [len(each.get("prompt") or result["prompt"]) for each in written]
    acts = [each["activations"][key][n:] for each, n in zip(written, n_prompt, strict=True)]
    peak = max((act for each in acts for act in each), default=0.0)
    plain = {text.seed: each["perplexity"] for text, each in zip(asked.texts, written, strict=True) if _as_it_is(text)}
    return [
        Column(
            name,
            _as_it_is(text),
            render(words, each["ids"], own, peak=peak or None, first=n, label=name) if each["ids"] else None,
            len(each["ids"]),
            each["perplexity"],
            tuple(_warnings(each, plain.get(each["seed"]))),
        )
        for name, text, each, own, n in zip(titles, asked.texts, written, acts, n_prompt, strict=True)
    ]


def _as_it_is(text: Text) -> bool:
    return not text.times and not text.prompted


def _warnings(text: dict[str, Any], as_it_is: float | None) -> list[str]:
    found = []
    if text["repetition"] >= REPEATS:
        found.append(f"It repeats itself: {percent(text['repetition'])} of its stretches of four tokens came before.")
    if text["times"] and as_it_is and text["perplexity"] and text["perplexity"] > UNLIKELY * as_it_is:
        times = significant(text["perplexity"] / as_it_is)
        found.append(f"Unlike what the lm writes: its perplexity is {times} times that of the text as it is.")
    return found


def place(before: int) -> str:
    """In the queue."""
    return f"{before} before it" if before else "It is the next"


def told(change: Change) -> str:
    """What becomes of a feature, in words."""
    unit = {Unit.P99: " × its 99th percentile", Unit.MAXIMUM: " × its maximum", Unit.RAW: ""}[change.unit]
    much = f"{significant(change.strength)}{unit}"
    how = {
        Method.ADD: f"{much} is added",
        Method.CLAMP: f"clamped to {much}",
        Method.SCALE: f"multiplied by {much}",
        Method.ABLATE: "ablated",
        Method.KEEP: "kept, all others ablated",
        Method.PROJECT: "its direction projected out",
    }[change.method]
    where = {Where.EVERYWHERE: "", Where.PROMPT: " in the prompt", Where.GENERATED: " in what is written"}[change.where]
    share = "" if change.share is None else f", {percent(change.share)} of the layer’s typical norm"
    return how + where + share


def alternatives(result: dict[str, Any] | None, words: Vocabulary) -> list[list[list[Any]]]:
    """Of every text and token: its own probability, and the likeliest tokens with theirs."""

    def named(others: list[list[Any]]) -> list[list[Any]]:
        tokens = words.text([token for token, _ in others])
        return [[token, p] for token, (_, p) in zip(tokens, others, strict=True)]

    return [
        [[p, named(others)] for p, others in zip(each["p"], each["alternatives"], strict=True)]
        for each in (result or {"texts": []})["texts"]
    ]


def program(asked: Asked, result: dict[str, Any]) -> str:
    """The same by sae_core, for whoever has the files."""
    slugs = sorted({each.sae for each in asked.changes})
    lines = ["import sae_core", "from sae_core import Intervention, Method, Plan, Run, Sampling, Where", ""]
    lines.append('lm = sae_core.load_lm("…")  # its weights have the fingerprint')
    lines.append(f"#    {asked.lm}")
    lines += [f"saes = {{{', '.join(f'{slug!r}: sae_core.load_sae({slug!r})' for slug in slugs)}}}", ""]
    lines += ["def changed(times):", "    if not times:", "        return ()", "    return ("]
    lines += [_intervention(each) for each in grouped(asked.changes)]
    lines += ["    )", "", f"prompt = {result['prompt']!r}"]
    changed = [each for each in asked.texts if not each.prompted]
    runs = ", ".join(f"({each.times!r}, {each.seed!r}, {each.control!r})" for each in changed)
    lines.append(f"texts = [{runs}]  # times, seed, control")
    lines.append("runs = [Run(changed(times), seed, control) for times, seed, control in texts]")
    lines.append(f"sampling = {asked.sampling!r}")
    lines.append(f"for tokens in sae_core.steered(lm, Plan(prompt, runs, {asked.new_tokens}, sampling)):")
    lines.append(PRINTED)
    for text, written in zip(asked.texts, result["texts"], strict=True):
        if text.prompted:
            lines += ["", f"prompted = {written['prompt']!r}"]
            plan = f"Plan(prompted, [Run((), {text.seed!r})], {asked.new_tokens}, sampling)"
            lines += [f"for tokens in sae_core.steered(lm, {plan}):", PRINTED]
    return "\n".join(lines) + "\n"


def _intervention(group: Group) -> str:
    value = ""
    if group.method in IN_UNITS:
        value = f", {group.value!r} * times"
    elif group.method is Method.SCALE:
        value = f", 1 + ({group.value!r} - 1) * times"
    where = "" if group.where is Where.EVERYWHERE else f", where=Where.{group.where.upper()}"
    return f"        Intervention(saes[{group.sae!r}], Method.{group.method.upper()}, {group.indices!r}{value}{where}),"


def as_text(asked: Asked, result: dict[str, Any], words: Vocabulary) -> str:
    """To paste into a letter: what was asked, and each text."""
    lines = [f"Prompt: {asked.prompt}"]
    lines += [f"Feature {each.index} of {each.sae}: {told(each)}" for each in asked.changes]
    if asked.instruction:
        lines.append(f"Just prompted with: {asked.instruction}")
    lines.append(f"Sampling: {', '.join(f'{name} {value:g}' for name, value in vars(asked.sampling).items())}")
    for text, written in zip(asked.texts, result["texts"], strict=True):
        lines += ["", f"## {title(text, asked.texts)}", "".join(words.text(written["ids"]))]
    return "\n".join(lines) + "\n"
