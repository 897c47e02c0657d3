"""HTML written in Python, against what Django makes of the same."""

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from explorer.markup import joined, markdown, written

CELLS = st.one_of(st.text(), st.integers(), st.floats(), st.text().map(lambda text: format_html("<b>{}</b>", text)))


@given(CELLS, CELLS)
def test_cells_are_escaped_unless_they_are_html(one: object, other: object) -> None:
    form = '<a title="{}">{}</a>'
    found = written(form, one, other)
    assert found == format_html(form, one, other)
    assert isinstance(found, SafeString)


@given(st.lists(st.tuples(CELLS, CELLS)))
def test_rows_are_joined(rows: list[tuple[object, object]]) -> None:
    found = joined("<tr><td>{}</td><td>{}</td></tr>", rows)
    assert found == format_html_join("", "<tr><td>{}</td><td>{}</td></tr>", rows)
    assert isinstance(found, SafeString)


def test_what_is_written_is_not_escaped_again() -> None:
    assert written("{}", written("<i>{}</i>", "<&>\"'")) == "<i>&lt;&amp;&gt;&quot;&#x27;</i>"


@given(st.text())
def test_what_a_person_writes_holds_no_html_of_theirs(text: str) -> None:
    made = markdown(f"{text}<script>alert(1)</script>")
    assert "<script" not in made
    assert isinstance(made, SafeString)


def test_markdown_is_read_and_what_would_act_stays_text() -> None:
    assert markdown("# A\n\n*b* [c](https://d.example)") == (
        '<h1>A</h1>\n<p><em>b</em> <a href="https://d.example">c</a></p>\n'
    )
    assert "<a" not in markdown("[x](javascript:alert(1))")
    assert "<img" not in markdown("![x](https://d.example/picture.png)")
