"""The token renderer against what must never happen, and against another way of reading bytes."""

import re
import unicodedata
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from explorer.tokens import LEVELS, Vocabulary, render
from tests.tokens.markup import INF, NAN, TINY, spans

ROOT = Path(__file__).resolve().parent.parent.parent


class Span:
    def __init__(self, attributes: dict[str, str]) -> None:
        self.ids = [int(each) for each in attributes["data-t"].split(" ")]
        self.activations = [float(each) for each in attributes["data-a"].split(" ")]
        self.look = attributes.get("class", "l0").split(" ")
        self.level = int(self.look[0][1:])
        self.stop = "tabindex" in attributes
        self.pieces: list[tuple[str, str]] = []  # each with the classes it stands in

    def merged(self) -> list[tuple[str, str]]:
        return merged(self.pieces)


def merged(pieces: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(kind, "".join(text for _, text in same)) for kind, same in groupby(pieces, lambda piece: piece[0])]


class Reader(HTMLParser):
    """Refuses whatever is not markup of the renderer's."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.kinds: list[str] = []
        self.container: dict[str, str] = {}
        self.spans: list[Span] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        assert len(attributes) == len(attrs)
        if tag == "div":
            assert not self.open
            assert list(attributes) == ["class", "role", "aria-label", "dir", "data-first", "data-peak"]
            self.container = attributes
        elif tag == "span":
            assert self.open == ["div"]
            assert set(attributes) <= {"class", "tabindex", "data-t", "data-a"}
            assert re.fullmatch(r"l([1-9]|1[0-6])( top)?", attributes.get("class", "l1"))
            assert attributes.get("tabindex", "0") == "0"
            self.spans.append(Span(attributes))
        else:
            assert self.open[:2] == ["div", "span"]
            assert set(attributes) == {"class"}
            assert (
                attributes["class"]
                in {
                    "i": ["blank", "break", "tab", "odd"],
                    "bdi": ["byte", "mark", "special"],
                }[tag]
            )
            self.kinds.append(attributes["class"])
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("i", "bdi"):
            self.kinds.pop()

    def handle_data(self, data: str) -> None:
        assert self.open[:2] == ["div", "span"], f"{data!r} stands beside the tokens"
        self.spans[-1].pieces.append((" ".join(self.kinds), data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def characters(data: bytes) -> list[tuple[int, int, str | None]]:
    """Each character with its place, and each byte of none: by trying, where the renderer lets Python replace."""
    found: list[tuple[int, int, str | None]] = []
    start = 0
    while start < len(data):
        for length in (1, 2, 3, 4):
            try:
                character: str | None = data[start : start + length].decode()
                break
            except UnicodeDecodeError:
                character = None
        stop = start + (length if character else 1)
        found.append((start, stop, character))
        start = stop
    return found


# Unicode 15.0, DerivedCoreProperties: Default_Ignorable_Code_Point where not of category Cf, and Braille's blank cell.
IGNORABLE = [(0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065), (0x3164, 0x3164)]
IGNORABLE += [(0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF), (0x2800, 0x2800)]
# Format characters that are drawn: numbers' signs of Arabic, Syriac and Kaithi, hieroglyphs and Duployan's neighbours.
DRAWN = [(0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2), (0x110BD, 0x110CD)]
DRAWN += [(0x13430, 0x1345F)]


def among(ranges: list[tuple[int, int]], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def kind_of(character: str) -> str:
    code, category = ord(character), unicodedata.category(character)
    if character in "\n\t ":
        return {"\n": "break", "\t": "tab", " ": ""}[character]
    if category == "Zs" or code in (0x200C, 0x200D) or 0xFE00 <= code <= 0xFE0F:
        return "odd"
    unseen = category in ("Cc", "Cf", "Co", "Zl", "Zp") and not among(DRAWN, code)
    return "mark" if unseen or among(IGNORABLE, code) or 0xFFF9 <= code <= 0xFFFF else ""


def expected_pieces(data: bytes) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    whole = characters(data)
    for number, (start, _, character) in enumerate(whole):
        if character is None:
            joins = number > 0 and whole[number - 1][2] is None
            pieces.append(("byte", (" " if joins else "") + f"{data[start]:02X}"))
            continue
        kind = kind_of(character)
        beside = [whole[near][2] for near in (number - 1, number + 1) if 0 <= near < len(whole)]
        if character == " " and (len(whole) == 1 or any(near is not None and near.isspace() for near in beside)):
            kind = "blank"
        pieces.append((kind, f"U+{ord(character):04X}" if kind == "mark" else character))
    return merged(pieces)


def expected(
    tokens: Sequence[bytes], special: frozenset[int], ids: Sequence[int]
) -> list[tuple[int, list[tuple[str, str]]]]:
    """How many tokens each span holds, and what stands in it."""
    texts = [tokens[each] if 0 <= each < len(tokens) and each not in special else b"" for each in ids]
    joined = [False] * len(ids)  # to the one before
    for has_text, run in groupby(range(len(ids)), lambda place: texts[place] != b""):
        owners = [place for place in run for _ in texts[place]]
        data = b"".join(texts[place] for place in dict.fromkeys(owners))
        for start, stop, _ in characters(data) if has_text else []:
            for place in range(owners[start] + 1, owners[stop - 1] + 1):
                joined[place] = True
    spans: list[tuple[int, list[tuple[str, str]]]] = []
    place = 0
    while place < len(ids):
        stop = next((later for later in range(place + 1, len(ids)) if not joined[later]), len(ids))
        if texts[place]:
            pieces = expected_pieces(b"".join(texts[place:stop]))
        else:
            known = tokens[ids[place]] if 0 <= ids[place] < len(tokens) else b""
            within = expected_pieces(known) if known else [("", f"[{ids[place]}]")]
            pieces = merged([(f"special {kind}".rstrip(), text) for kind, text in within])
        spans.append((stop - place, pieces))
        place = stop
    return spans


ODDITIES = "\x00\n\r\t  \u00a0\u200b\u200d\u202e\u2066\u061c\ufeff\ufffd\u3000\ud7ff\ue000&<>\"'`/=;{}€語😀שלםערب\u0301"
TEXTS = st.text(st.one_of(st.sampled_from(ODDITIES), st.characters(exclude_categories=["Cs", "Cn"])), max_size=30)
WORST = st.sampled_from(
    [b"<script>alert(1)</script>", b'" onfocus="x', b"<!--", b"&lt;", b"]]>", b"</span></div>", b"\x00", b" ", b"  ",
     b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b""]
)  # fmt: skip
# The very largest floats, rounded to five places, would read as infinite.
ACTIVATIONS = st.one_of(
    st.sampled_from([0.0, 0.0, 0.0, -0.0, NAN, INF, -INF, TINY, 1e308, 1.0, 1.0, -1.0]),
    st.floats(-1e308, 1e308),
    st.integers(-9, 9),
)


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[bytes], frozenset[int], list[int], list[float]]:
    """A text cut into tokens anywhere, among tokens and ids of any kind."""
    data = draw(TEXTS).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    tokens = [data[start:stop] for start, stop in pairwise([0, *cuts, len(data)])]
    tokens += draw(st.lists(st.one_of(WORST, st.binary(max_size=6)), max_size=8))
    known = st.integers(0, len(tokens) - 1)
    special = draw(st.frozensets(known, max_size=2))
    anywhere = draw(st.lists(st.one_of(known, known, known, st.integers(-3, 10**6)), max_size=12))
    ids = [*anywhere[:4], *range(len(cuts) + 1), *anywhere[4:]]
    return tokens, special, ids, draw(st.lists(ACTIVATIONS, min_size=len(ids), max_size=len(ids)))


@given(texts(), st.one_of(st.none(), st.floats()), st.integers(0, 10**9), TEXTS)
@example(([b"\xe2\x82", b"\xac"], frozenset(), [0, 1], [NAN, TINY]), None, 0, '"><script>')
@example(([b" \n", b"\x1c "], frozenset(), [0, 1], [0.0, 0.0]), NAN, 0, "")
def test_whatever_comes(
    text: tuple[list[bytes], frozenset[int], list[int], list[float]], peak: float | None, first: int, label: str
) -> None:
    tokens, special, ids, activations = text
    html = render(Vocabulary(tokens, special), ids, activations, peak=peak, first=first, label=label)
    html.encode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html.partition(">")[2])
    page = read(html)

    assert page.container["data-first"] == str(first)
    assert page.container["aria-label"] == label
    assert [each for span in page.spans for each in span.ids] == ids
    said = [each for span in page.spans for each in span.activations]
    for shown, value in zip(said, activations, strict=True):
        assert shown == pytest.approx(value, rel=5e-5, abs=TINY, nan_ok=True)
        assert (shown == 0) == (value == 0)

    assert [(len(span.ids), span.merged()) for span in page.spans] == expected(tokens, special, ids)

    firing = [value for value in activations if value > 0]
    places = [place for place, span in enumerate(page.spans) for _ in span.ids]
    tops = [place for place, span in enumerate(page.spans) if "top" in span.look]
    assert tops == ([places[activations.index(max(firing))]] if firing else [])
    assert [place for place, span in enumerate(page.spans) if span.stop] == (tops or places[:1])

    full = peak if peak is not None and peak > 0 else max(firing, default=0.0)
    strongest: list[float] = [0.0] * len(page.spans)
    for place, value in zip(places, activations, strict=True):
        strongest[place] = max(strongest[place], value if value > 0 else 0.0)
    by_strength = sorted(zip(strongest, [span.level for span in page.spans], strict=True))
    for (_, below), (_, above) in pairwise(by_strength):
        assert below <= above
    for value, level in by_strength:
        if value == 0 or value >= full:
            assert level == (LEVELS if value else 0)
        else:
            assert level >= 1
            assert abs(level - 0.5 - value / full * LEVELS) <= 0.5


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_bytes_come_back_whole_from_what_is_shown(data: bytes, cuts: list[int]) -> None:
    """Nothing is left out or shown as a replacement character: what a page shows spells the bytes it was made of."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    tokens = [data[start:stop] for start, stop in pairwise(places) if start < stop]
    page = read(render(Vocabulary(tokens), range(len(tokens)), [1.0] * len(tokens)))
    back = b""
    for kind, text in [piece for span in page.spans for piece in span.pieces]:
        if kind == "byte":
            back += bytes.fromhex(text)
        else:
            back += (chr(int(text.removeprefix("U+"), 16)) if kind == "mark" else text).encode()
    assert back == data


def test_every_character_of_unicode_is_shown_as_its_kind() -> None:
    """But for those that only a later Unicode knows, and maybe the browser with it."""
    known = [
        character
        for character in map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
        if unicodedata.category(character) != "Cn" or among(IGNORABLE, ord(character))
    ]
    shown = [character for character in known if character not in "\n\t"]
    found = re.findall(r'data-a="0">x(.*?)x</span>', spans([f"x{character}x".encode() for character in shown]))
    looks = {"": "{0}", "odd": '<i class="odd">{0}</i>', "mark": '<bdi class="mark">U+{1:04X}</bdi>'}
    assert found == [looks[kind_of(character)].format(escape(character), ord(character)) for character in shown]
    assert len(found) > 250_000


def test_only_the_renderer_and_what_escapes_say_that_html_is_safe() -> None:
    """Everything else goes through templates, or markup.py (tests/test_markup.py), which escape."""
    makers = re.compile(r"\bSafeString\(|\bSafeText\b|\bmark_safe\b|\|\s*safe\b|\bautoescape off\b|\bsafeseq\b")
    files = [*(ROOT / "explorer").rglob("*.py"), *(ROOT / "templates").rglob("*.html")]
    found = sorted(str(path.relative_to(ROOT)) for path in files if makers.search(path.read_text()))
    assert found == ["explorer/markup.py", "explorer/tokens.py"]
