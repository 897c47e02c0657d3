"""Files of labels that somebody brings: read whole, or every line that is wrong is named."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import brought, label_files
from explorer.brought import Unreadable
from explorer.label_files import read


def faults(content: bytes, name: str = "labels.csv") -> list[str]:
    with pytest.raises(Unreadable) as refused:
        read(content, name, 37)
    return refused.value.faults


def test_both_forms_are_read() -> None:
    csv = b'\xef\xbb\xbfnotes, Label ,INDEX\r\nx,"a ""b"",\n c",5\r\n\r\n,,0\r\ny,\'=1+1,36\r\n'
    assert read(csv, "labels.csv", 37) == {5: 'a "b", c', 0: "", 36: "=1+1"}
    jsonl = b'{"index": 5, "label": "a\\u0000 b", "x": []}\n\n{"label": "", "index": "0"}'
    for name in ("labels.jsonl", "labels", "LABELS.JSON"):
        assert read(jsonl, name, 37) == {5: "a\ufffd b", 0: ""}
    assert read(b'{"index": 1, "label": "\\ud800 ' + "שלום".encode() + b'"}', "x", 37) == {1: "\ufffd שלום"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("37,x", "index 37 is beyond the last, 36."),
        ("99999999999999999999,x", "index 99999999999999999999 is beyond the last, 36."),
        ("-1,x", "its index is no whole number."),
        ("1.5,x", "its index is no whole number."),
        ("\u0661,x", "its index is no whole number."),
        (",x", "its index is no whole number."),
        ("3", "it has fewer columns than the first line names."),
        ("1,x", "feature 1 has a label in an earlier line."),
        ("2," + "x" * 201, "its label has 201 characters; 200 are the most."),
    ],
)
def test_a_wrong_line_of_csv_is_named(line: str, told: str) -> None:
    assert faults(f"index,label\n1,x\n{line}\n4,y".encode()) == [f"Line 3: {told}"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[1]", "it is no JSON object."),
        ("{", "it is no JSON object."),
        ("[" * 100_000, "it is no JSON object."),
        ('{"index": ' + "9" * 5000 + "}", "it is no JSON object."),
        ('{"index": true, "label": "x"}', "its index is no whole number."),
        ('{"index": null, "label": "x"}', "its index is no whole number."),
        ('{"index": 2}', "its label is no text."),
        ('{"index": 2, "label": ["x"]}', "its label is no text."),
    ],
)
def test_a_wrong_line_of_json_is_named(line: str, told: str) -> None:
    assert faults(f'{{"index": 1, "label": "x"}}\n{line}'.encode(), "x.jsonl") == [f"Line 2: {told}"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Line 1: it names the columns, and two of them must be index and label."),
        (b"index,label\n", "There is no label in it."),
        (b"index,label\n1,a\n2,\xff\n", "Line 3: it is not UTF-8."),
        (b'index,label\n1,"' + b"x" * 140_000 + b'"\n', "Line 2: field larger than field limit (131072)."),
    ],
)
def test_a_file_that_is_none_is_refused(content: bytes, told: str) -> None:
    assert faults(content) == [told]


def test_not_every_line_of_a_wrong_file_is_named() -> None:
    told = faults(b"index,label\n" + b"x,y\n" * 1000)
    assert told[-1] == "There may be more."
    assert len(told) == brought.MOST_TOLD + 1


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_files, "MOST", 2)
    assert faults(b"index,label\n1,a\n2,b\n3,c\n") == ["These are more than 2 labels; bring them in several files."]


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.jsonl", "a"]))
def test_nothing_breaks_it(content: bytes, name: str) -> None:
    for each in (content, b"index,label\n" + content):
        with suppress(Unreadable):
            assert all(0 <= index < 37 and len(label) <= 200 for index, label in read(each, name, 37).items())
