"""The token renderer against exact markup."""

import re
from array import array
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from django.utils.safestring import SafeString

from explorer.tokens import LEVELS, Vocabulary, render
from tests.tokens.markup import INF, NAN, TINY, spans

ROOT = Path(__file__).resolve().parent.parent.parent


def inside(token: bytes) -> str:
    html = spans([token])
    opening, closing = '<span tabindex="0" data-t="0" data-a="0">', "</span>"
    assert html.startswith(opening)
    assert html.endswith(closing)
    return html[len(opening) : -len(closing)]


def test_a_text() -> None:
    vocabulary = Vocabulary([b"<|endoftext|>", b"The", b" cat", b" sat"], frozenset({0}))
    html = render(vocabulary, [0, 1, 2, 3, 2], [0.0, 0.0, 0.5, 2.0, -1.5], first=7, label='"A" & <B>')
    assert type(html) is SafeString
    assert html == (
        '<div class="tokens" role="group" aria-label="&quot;A&quot; &amp; &lt;B&gt;" dir="auto" data-first="7" '
        'data-peak="2">'
        '<span data-t="0" data-a="0"><bdi class="special">&lt;|endoftext|&gt;</bdi></span>'
        '<span data-t="1" data-a="0">The</span>'
        '<span class="l5" data-t="2" data-a="0.5"> cat</span>'
        '<span class="l16 top" tabindex="0" data-t="3" data-a="2"> sat</span>'
        '<span data-t="2" data-a="-1.5"> cat</span>'
        "</div>"
    )


def test_no_token_at_all() -> None:
    assert render(Vocabulary([]), [], []) == (
        '<div class="tokens" role="group" aria-label="Tokens" dir="auto" data-first="0" data-peak="0"></div>'
    )


def test_a_number_for_each_token() -> None:
    with pytest.raises(ValueError, match="2 tokens, but 1 activations"):
        render(Vocabulary([b"a"]), [0, 0], [1.0])


def test_nothing_but_numbers_gets_into_attributes() -> None:
    vocabulary = Vocabulary([b"a"])
    for ids, activations in (['"><script>'], [1.0]), ([0], ['"><script>']), ([7], ["1"]):
        with pytest.raises((TypeError, ValueError)):
            render(vocabulary, ids, activations)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format code"):
        render(vocabulary, [0], [1.0], first='"><script>')  # type: ignore[arg-type]


def test_a_character_over_several_tokens_is_one_span() -> None:
    euro, cry = "€".encode(), "😢".encode()
    assert spans([b"5", euro[:1], euro[1:2], euro[2:]], [0.0, 0.0, 1.25, 0.0]) == (
        '<span data-t="0" data-a="0">5</span>'
        '<span class="l16 top" tabindex="0" data-t="1 2 3" data-a="0 1.25 0">€</span>'
    )
    # One token may end one character and begin the next.
    assert spans([b"x" + cry[:2], cry[2:] + euro[:2], euro[2:] + b"y", b"z"]) == (
        '<span tabindex="0" data-t="0 1 2" data-a="0 0 0">x😢€y</span><span data-t="3" data-a="0">z</span>'
    )


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        ([b"\xe2\x82"], ["0:[E2 82]"]),  # the context was cut inside of a character
        ([b"\x82\xac", b" 5"], ["0:[82 AC]", "1: 5"]),
        ([b"\xe2", b"\x82"], ["0:[E2]", "1:[82]"]),  # which is no reason to join
        ([b"\xe2\x82", b"ok"], ["0:[E2 82]", "1:ok"]),
        ([b"\xe2\x82", b"\xe2\x82", b"\xac"], ["0:[E2 82]", "1 2:€"]),
        ([b"\xe2\x82\xac\xe2", b"a"], ["0:€[E2]", "1:a"]),
        ([b"\xf0\x9f", b"\xe2\x82\xac", b"\x98"], ["0:[F0 9F]", "1:€", "2:[98]"]),
        ([b"\xff", b"a\xc0\xafb"], ["0:[FF]", "1:a[C0 AF]b"]),  # never lawful; an overlong slash
        ([b"\xed\xa0\x80"], ["0:[ED A0 80]"]),  # half of a pair
        ([b"\xed", b"\xa0", b"\x80"], ["0:[ED]", "1:[A0]", "2:[80]"]),
        ([b"\xed\xa0\xbd\xed\xb8\x80"], ["0:[ED A0 BD ED B8 80]"]),  # both halves, each encoded: not UTF-8 either
        ([b"\xf4\x90\x80\x80"], ["0:[F4 90 80 80]"]),  # above U+10FFFF
        ([b"\xe2", b"", b"\x82\xac"], ["0:[E2]", "1:{[1]}", "2:[82 AC]"]),  # what is not text ends a character
    ],
)
def test_bytes_that_are_no_character(tokens: list[bytes], shown: list[str]) -> None:
    html = spans(tokens)
    html = re.sub(r'<bdi class="byte">([0-9A-F ]+)</bdi>', r"[\1]", html)
    html = re.sub(r'<bdi class="special">(.+?)</bdi>', r"{\1}", html)
    assert re.findall(r'data-t="([0-9 ]+)" data-a="[0 ]+">(.*?)</span>', html) == [
        tuple(each.split(":", 1)) for each in shown
    ]


def blank(text: str) -> str:
    return f'<i class="blank">{text}</i>'


def mark(name: str) -> str:
    return f'<bdi class="mark">{name}</bdi>'


BREAK, TAB = '<i class="break">\n</i>', '<i class="tab">\t</i>'


@pytest.mark.parametrize(
    ("token", "html"),
    [
        (" of the", " of the"),
        (" ", blank(" ")),
        ("    return", blank("    ") + "return"),
        ("a  b c ", "a" + blank("  ") + "b c "),
        ("a \n", "a" + blank(" ") + BREAK),
        ("\t x", TAB + blank(" ") + "x"),
        ("\n\n", BREAK + BREAK),
        ("\r\n", mark("U+000D") + BREAK),
        ("\r", mark("U+000D")),
        ("\v\f\x85\u2028\u2029", "".join(map(mark, ["U+000B", "U+000C", "U+0085", "U+2028", "U+2029"]))),
        ("a\x00\x1b\x7f", "a" + mark("U+0000") + mark("U+001B") + mark("U+007F")),
        ("\u00a0", '<i class="odd">\u00a0</i>'),
        ("\u3000\u200a", '<i class="odd">\u3000</i><i class="odd">\u200a</i>'),
        ("👩\u200d🔧", '👩<i class="odd">\u200d</i>🔧'),
        ("x\u200by\ufeff\u00ad", "x" + mark("U+200B") + "y" + mark("U+FEFF") + mark("U+00AD")),
        ("\u202eexe.", mark("U+202E") + "exe."),
        ("\U000e0067\U0010ffff\ufffd", mark("U+E0067") + mark("U+10FFFF") + mark("U+FFFD")),
        ("<script>alert('&amp;\")</script>", "&lt;script&gt;alert(&#x27;&amp;amp;&quot;)&lt;/script&gt;"),
        ("شكرا שלום café", "شكرا שלום café"),
    ],
)
def test_what_is_hard_to_see(token: str, html: str) -> None:
    assert inside(token.encode()) == html


def test_no_character_that_turns_the_text_is_in_effect() -> None:
    turning = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
    for code in turning:
        assert inside(f"a{chr(code)}b".encode()) == "a" + mark(f"U+{code:04X}") + "b"


def test_ids_outside_the_vocabulary() -> None:
    assert render(Vocabulary([b"a"]), [-1, 1, 10**30], [0, 0, 0]).count("<bdi") == 3
    assert '<bdi class="special">[-1]</bdi>' in render(Vocabulary([b"a"]), [-1], [0])


def test_special_tokens_are_escaped_and_stand_alone() -> None:
    html = spans([b"<s>\x00", b"", b"\xe2", b"\x82\xac"], special=[0, 1, 2])
    assert html == (
        f'<span tabindex="0" data-t="0" data-a="0"><bdi class="special">&lt;s&gt;{mark("U+0000")}</bdi></span>'
        '<span data-t="1" data-a="0"><bdi class="special">[1]</bdi></span>'
        '<span data-t="2" data-a="0"><bdi class="special"><bdi class="byte">E2</bdi></bdi></span>'
        '<span data-t="3" data-a="0"><bdi class="byte">82 AC</bdi></span>'
    )


def levels(activations: Sequence[float], peak: float | None = None) -> list[int]:
    html = render(Vocabulary([b"a"]), [0] * len(activations), activations, peak=peak)
    return [int(level or 0) for level in re.findall(r'<span(?: class="l(\d+)[ a-z]*")?', html)]


def test_levels() -> None:
    assert levels([0.0, TINY, 0.0624, 0.0626, 0.5, 0.99, 1.0]) == [0, 1, 1, 2, 9, 16, 16]
    assert levels([1.0, 2.0, 3.0, 4.0, 5.0], peak=4.0) == [5, 9, 13, 16, 16]
    assert levels([-3.0, -INF, NAN, -0.0, 0.0]) == [0, 0, 0, 0, 0]
    assert levels([NAN, 1e308, INF]) == [0, 1, 16]
    assert levels([1e308, TINY], peak=TINY) == [16, 16]
    assert levels([TINY, 1.0], peak=INF) == [1, 1]
    assert levels([1.0, 2.0], peak=0.0) == levels([1.0, 2.0], peak=NAN) == levels([1.0, 2.0]) == [9, 16]


def test_the_strongest_is_the_first_of_equals() -> None:
    html = render(Vocabulary([b"a", b"b"]), [0, 1, 1, 0], [NAN, 2.0, 2.0, 1.0])
    assert html.count(" top") == html.count("tabindex") == 1
    assert '<span class="l16 top" tabindex="0" data-t="1" data-a="2">b</span><span class="l16" data-t="1"' in html
    assert '<span class="l1 top" tabindex="0" ' in render(Vocabulary([b"a"]), [0], [1e-9], peak=7.0)


def test_arrays_are_sequences_too() -> None:
    vocabulary = Vocabulary([b"a", b"\xe2\x82", b"\xac"])
    packed = render(vocabulary, array("I", [0, 1, 2]), array("f", [0.0, 0.5, 0.0]))
    assert packed == render(vocabulary, [0, 1, 2], [0.0, 0.5, 0.0])


def test_what_was_shown_before_changes_nothing() -> None:
    used, ids = Vocabulary([b"a", b"\xe2\x82", b"\xac"]), [0, 1, 2, 1, 0]
    render(used, ids, [1.0] * 5)
    render(used, ids, [0.0] * 5)
    for activations in [0.0, 3.0, 0.0, 1.0, 0.0], [0.0] * 5:
        assert render(used, ids, activations) == render(Vocabulary([b"a", b"\xe2\x82", b"\xac"]), ids, activations)


def test_every_level_and_kind_has_its_look() -> None:
    css = (ROOT / "static/css/tokens.css").read_text()
    percents = [int(percent) for percent in re.findall(r"\.tokens > \.l\d+ { --level: (\d+)%; }", css)]
    assert len(percents) == LEVELS
    assert all(f".l{level} " in css for level in range(1, LEVELS + 1))
    assert all(below < above for below, above in pairwise(percents))
    assert all(f".{kind}" in css for kind in ("blank", "break", "tab", "odd", "byte", "special", "top"))
