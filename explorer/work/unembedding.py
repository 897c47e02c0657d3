"""What web processes need to read the logits of all an SAE's features: the lm's unembedding with everything folded in,
and of each hookpoint that its SAEs write at, what the axes there add to the residual stream.

A safetensors file: "unembedding" (n_vocab, d_model), and under the name of each hookpoint that is not in the stream a
matrix (width, d_model); `about.in_stream` names those that are, `about.silent` those that write nothing to it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from explorer import directions
from explorer.actions import editions
from explorer.actions.collections import forget_unnamed
from explorer.models import LanguageModel
from explorer.work.attempt import Attempt, Removed
from explorer.work.loading import new_artifacts
from explorer.work.opening import lm_of, refusing, scratch
from sae_core import BadInput, Lm
from sae_core.array_files import write_arrays
from sae_core.lens import carried, unembedding


def run(attempt: Attempt) -> dict[str, Any]:
    """Of an lm whose SAEs were added before there was such a file, or by two jobs at once. Arguments: `lm`."""
    row = LanguageModel.objects.filter(pk=attempt.arguments["lm"]).first()
    if row is None:
        raise Removed("The language model has been removed.")
    attempt.report(message="Loading the language model")
    with refusing(), scratch() as folder, new_artifacts() as put:
        path = folder / "unembedding.safetensors"
        write(lm_of(row), hookpoints_of(row), path)
        sha256 = put(path, f"{row.slug}.unembedding.safetensors")
        with attempt.transaction():
            before = LanguageModel.objects.select_for_update().get(pk=row.pk).unembedding_id
            LanguageModel.objects.filter(pk=row.pk).update(unembedding=sha256)
            editions.of_lm(row.pk)
    if before not in (None, sha256):
        forget_unnamed([before])
    return {"lm": row.slug}


def write(lm: Lm, hookpoints: Iterable[str], path: Path) -> None:
    arrays = {directions.UNEMBEDDING: unembedding(lm).cpu().numpy()}
    about: dict[str, list[str]] = {"in_stream": [], "silent": []}
    for hookpoint in sorted(set(hookpoints)):
        try:
            way = carried(lm, hookpoint)
        except BadInput:
            about["silent"].append(hookpoint)
            continue
        if way is None:
            about["in_stream"].append(hookpoint)
        else:
            arrays[hookpoint] = way.cpu().numpy()
    write_arrays(path, arrays, about)


def hookpoints_of(lm: LanguageModel) -> set[str]:
    return {out or hookpoint for hookpoint, out in lm.saes.values_list("hookpoint", "hookpoint_out")}


def lacking(fingerprint: str, hookpoint: str) -> set[str] | None:
    """The hookpoints that a file is to be made for, so that there is this one in it; None where there is already."""
    row = LanguageModel.objects.filter(fingerprint=fingerprint).first()
    if row is None:
        return {hookpoint}
    return None if directions.known(row, hookpoint) else {hookpoint, *hookpoints_of(row)}
