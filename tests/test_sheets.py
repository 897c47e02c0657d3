"""Texts in CSV: never a formula, and back as they were."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from explorer import sheets

STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
awkward = st.text(alphabet=st.one_of(st.sampled_from(f"'\"\n\r,{STARTS}x"), st.characters(codec="utf-8")), max_size=8)


@given(awkward)
def test_no_text_is_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = sheets.cell(text)
    assert not cell.startswith(tuple(STARTS))
    assert sheets.uncell(cell) == text


@given(st.lists(awkward, min_size=1))
def test_as_csv(texts: list[str]) -> None:
    written = "".join(sheets.written(sheets.CSV, ["text"], [[{"text": text} for text in texts]]))
    head, *rows = csv.reader(io.StringIO(written, newline=""))
    assert head == ["text"]
    assert [sheets.uncell(text) for row in rows for text in (row or [""])] == texts
