import pytest

from explorer import charts


def test_a_histogram_is_drawn_as_it_was_counted() -> None:
    figure = charts.histogram([0, 1, 3], [5, 7], x="score")
    (bars,) = figure["data"]
    assert (bars["x"], bars["y"], bars["width"]) == ([0.5, 2.0], [5, 7], [1, 2])
    assert bars["customdata"] == [[0, 1], [1, 3]]
    assert figure["layout"]["xaxis"]["title"]["text"] == "score"


def test_nothing_to_draw_is_said() -> None:
    assert charts.histogram([0, 1], [0], x="score")["data"] == []
    assert charts.scatter([], [], [], x="density", y="maximum")["data"] == []


def test_octaves_are_equally_wide_on_their_axis() -> None:
    figure = charts.octaves([1, 2, 8], [2, 4, 16], [5, 0, 7], x="activation", y="tokens")
    (bars,) = figure["data"]
    edges = [(x - width / 2, x + width / 2) for x, width in zip(bars["x"], bars["width"], strict=True)]
    assert edges == [(1, 2), (2, 4), (8, 16)]
    assert (bars["y"], bars["customdata"][2]) == ([5, 0, 7], [8, 16])
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert charts.octaves([], [], [], x="activation", y="tokens")["data"] == []


def test_edges_and_counts_must_fit() -> None:
    with pytest.raises(ValueError, match="2 counts lie between 3 edges, not 2"):
        charts.histogram([0, 1], [5, 7], x="score")


def test_a_label_is_no_markup_for_plotly() -> None:
    """It takes <b>, <i> and <a href> in its texts, hover cards among them."""
    figure = charts.scatter([1], [2], ['<a href="https://evil.example">a & b</a>'], x="density", y="maximum", log=True)
    assert figure["data"][0]["text"] == ["&lt;a href=&quot;https://evil.example&quot;&gt;a &amp; b&lt;/a&gt;"]
    assert figure["layout"]["xaxis"] == {"title": {"text": "density"}, "type": "log"}
