"""What the demo's SAEs score on the text held out, what their features fire on, and the bundle's README."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sae_core
from making.lms import CONTEXT_LENGTH, DEMO
from making.saes import GROUPS

MEASURED = 1024  # contexts, drawn evenly
LISTED = 3  # contexts of a feature
# Some that a reader recognises at once, found by looking: of another training they would be others.
RECOGNISED = {
    "deep-batchtopk-2048": {
        85: "`versionadded` after `..`",
        414: "the prompt `>>>` of a session",
        1470: "`try` that opens a block",
        1693: "`ImproperlyConfigured`",
        343: "Japanese",
        1592: "the Arabic article, and less strongly a Turkish ı",
    },
    "one-layer-relu-4096": {
        2478: "`than` after a comparative",
        895: "the `s` that ends a placeholder, in translations",
        2413: "`www` in an address",
        2371: "`support` of Python's own tests, imported",
    },
}
AROUND = 12  # tokens before and after the peak


def score(name: str, work: Path, demo: Path) -> None:
    """Measures the SAEs of a group; the figures go to work/saes/<name>.metrics.json."""
    group, corpus = GROUPS[name], sae_core.open_corpus(demo / "corpus")
    lm = sae_core.load_lm(demo / "lms" / group.lm)
    drawn = np.arange(0, corpus.config.contexts, max(corpus.config.contexts // MEASURED, 1))[:MEASURED]
    for sae_name in group.saes:
        sae = sae_core.load_sae(demo / "saes" / sae_name)
        found = sae_core.measure(
            lm, sae, corpus.contexts[drawn], lengths=corpus.lengths[drawn], baselines=False, batch_size=32
        ).to_json()
        (work / "saes" / f"{sae_name}.metrics.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(sae_name, {each: found[each] for each in ("l0", "fvu", "loss_recovered", "dead", "tokens")}, flush=True)


@torch.no_grad()
def top_contexts(sae_name: str, latents: list[int], contexts: int = 4096) -> dict[int, list[str]]:
    """Where latents fire most in the held-out text, a document each, the peak in guillemets."""
    (group,) = (each for each in GROUPS.values() if sae_name in each.saes)
    corpus, lm = sae_core.open_corpus(DEMO / "corpus"), sae_core.load_lm(DEMO / "lms" / group.lm)
    sae = sae_core.load_sae(DEMO / "saes" / sae_name)
    assert lm.tokenizer is not None
    drawn = np.arange(0, corpus.config.contexts, max(corpus.config.contexts // contexts, 1))
    values, positions = _peaks(lm, sae, corpus.contexts[drawn], latents)
    told: dict[int, list[str]] = {}
    for column, latent in enumerate(latents):
        documents, told[latent] = set[int](), []
        for row in values[:, column].argsort(descending=True).tolist():
            context, position = int(drawn[row]), int(positions[row, column])
            document = corpus.document_of(context, position)
            if document in documents or not values[row, column] > 0:
                continue
            documents.add(document)
            ids = corpus.contexts[context].tolist()
            parts = (
                ids[max(position - AROUND, 1) : position],
                [ids[position]],
                ids[position + 1 : position + 1 + AROUND],
            )
            before, peak, after = (lm.tokenizer.decode(each) for each in parts)
            told[latent].append(f"{before}«{peak}»{after}")
            if len(documents) == LISTED:
                break
    return told


def _peaks(lm: Any, sae: Any, contexts: Any, latents: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest activation of each latent in each context, and where.  # (contexts, latents) both"""
    values, positions = [], []
    for start in range(0, len(contexts), 64):
        tokens = torch.from_numpy(contexts[start : start + 64].astype(np.int64))
        x = lm.activations(tokens, sae.hookpoint)
        acts = sae.encode(x.flatten(0, 1))[:, latents].view(*tokens.shape, len(latents))
        acts *= sae_core.counted(tokens, lm.mask_ids)[..., None]
        peaks = acts.max(dim=1)
        values.append(peaks.values)
        positions.append(peaks.indices)
    return torch.cat(values), torch.cat(positions)


def write_readme(work: Path, demo: Path) -> None:
    sources = json.loads((work / "text" / "sources.json").read_text())
    lms = {name: json.loads((work / "lms" / f"{name}.json").read_text()) for name in _LMS}
    corpus = sae_core.open_corpus(demo / "corpus").config
    size = sum(each.stat().st_size for each in demo.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    parts = [
        (demo / "making" / "readme.md").read_text(encoding="utf-8").format(
            megabytes=f"{size / 1e6:.1f}", tokens=f"{corpus.tokens:,}", contexts=f"{corpus.contexts:,}",
            context_length=CONTEXT_LENGTH,
        ).rstrip(),
        "## Text", _sources(sources),
        "## Language models", _lm_table(lms),
        "## What the deep one makes of a few prompts", _continuations(lms["deep-on"]["continuations"]),
        "## SAEs", _sae_table(work),
        "## Features to look at first", _recognised(),
    ]  # fmt: skip
    (demo / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _recognised() -> str:
    lines = [
        "Chosen by eye among a hundred looked at. Where they fire most in the held-out text, a document each; the "
        "token of the peak in guillemets."
    ]
    for sae_name, latents in RECOGNISED.items():
        found = top_contexts(sae_name, list(latents))
        for latent, what in latents.items():
            lines.append(f"**`{sae_name}` {latent}**: {what}")
            lines.append("\n".join(["```text", *(each.replace("\n", "⏎") for each in found[latent]), "```"]))
    return "\n\n".join(lines)


_LMS = {
    "one-layer": "`lms/one-layer`: one attention block, one MLP of 512 ReLUs, d_model 128 (GPT-2's class)",
    "attention-only": "`lms/attention-only`: one attention block without norms, biases or MLP, d_model 80, 4 heads",
    "deep": "`lms/deep`, as it was after its first round",
    "deep-on": "`lms/deep`: 4 layers of 256 (Llama's class), after its second round",
}


def _sources(sources: list[dict[str, Any]]) -> str:
    rows = [
        "| source | licence | files | left out as near-duplicates, or empty | characters |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in sources:
        package = each["package"] or each["debian"]
        what = f"{each['what']} ({package})" if package else each["what"]
        characters = sum(each["characters"].values())
        rows.append(f"| {what} | {each['licence']} | {each['files']} | {each['duplicates']} | {characters:,} |")
    return "\n".join(rows)


def _lm_table(lms: dict[str, dict[str, Any]]) -> str:
    rows = ["| lm | parameters | tokens read | minutes | loss on held-out text |", "| --- | --- | --- | --- | --- |"]
    for name, each in lms.items():
        read = f"{each['parameters']:,} | {each['tokens']:,} | {each['minutes']}"
        rows.append(f"| {_LMS[name]} | {read} | {each['held_out_loss']:.3f} |")
    rows.append("| `lms/one-layer-untrained`: the first before any step, from another seed | 755,584 | 0 | 0 | |")
    return "\n".join(rows)


def _continuations(told: list[tuple[str, str]]) -> str:
    return "\n\n".join(f"```text\n{prompt}⏵{text.rstrip()}\n```" for prompt, text in told)


def _sae_table(work: Path) -> str:
    rows = [
        "| SAE | hookpoint | tokens read | minutes | L0 | FVU | loss recovered | never fired |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for group in GROUPS.values():
        for index, name in enumerate(group.saes):
            made = json.loads((work / "saes" / f"{name}.json").read_text())
            found = json.loads((work / "saes" / f"{name}.metrics.json").read_text())
            together = f"{made['minutes']}, {len(group.saes)} together" if index == 0 else "〃"
            minutes = str(made["minutes"]) if len(group.saes) == 1 else together
            recovered = "–" if found["loss_recovered"] is None else f"{found['loss_recovered']:.3f}"
            figures = f"{found['l0']:.1f} | {found['fvu']:.3f} | {recovered}"
            fired = f"{found['dead']} of {group.saes[name].n_latents}"
            place = f"`{group.lm}`, {group.hookpoint}"
            rows.append(f"| `saes/{name}` | {place} | {made['tokens']:,} | {minutes} | {figures} | {fired} |")
    return "\n".join(rows)
