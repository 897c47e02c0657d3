"""Evidence against a brute force, for every class of lm and every family of SAE."""

from pathlib import Path

import pytest

from tests.sae_core import small_lms
from tests.sae_core.collecting.agreement import assert_agrees
from tests.sae_core.collecting.made import (
    CONTEXTS,
    LENGTH,
    MASKED,
    SAES,
    TOP_K,
    collected,
    made_sae,
    small_lm,
    some_lengths,
    some_pieces,
    texts,
)
from tests.sae_core.collecting.reference import Reference, documents


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("family", small_lms.FAMILIES)
def test_of_every_class_of_lm(family: str, tmp_path: Path) -> None:
    lm, sae, ids = small_lm(family), made_sae(), texts()
    file = collected(lm, sae, ids, tmp_path)
    assert_agrees(file, Reference.of(lm, sae, ids, MASKED), lm, sae, top_k=TOP_K)


@pytest.mark.parametrize("name", SAES)
def test_of_every_family_of_sae(name: str, tmp_path: Path) -> None:
    family, changes = SAES[name]
    lm, sae, ids, lengths = small_lm(), made_sae(family, **changes), texts(), some_lengths()
    pieces = some_pieces()
    file = collected(lm, sae, ids, tmp_path, lengths=lengths, pieces=pieces)
    reference = Reference.of(lm, sae, ids, MASKED, lengths.tolist())
    document = documents(pieces.tolist(), CONTEXTS, LENGTH)
    assert_agrees(file, reference, lm, sae, top_k=TOP_K, document=document)
