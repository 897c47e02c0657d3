"""Token ids and activations as HTML: with markup.py the one audited place that makes a SafeString.

Whatever an lm has read goes out through `render`. Attributes are made of numbers, by %d and %.5g, which take nothing
else; a label and all text are escaped; what cannot be seen, or would act on its surroundings, is named instead. Tokens
on whose border a character lies share one span, so that no character is ever shown in halves.

    <div class="tokens" role="group" aria-label="Tokens" dir="auto" data-first="0" data-peak="1.25">
      <span data-t="464" data-a="0">The</span>                                              level 0: it does not fire
      <span class="l9" data-t="5021" data-a="0.64"> cat</span>                              levels 1 to 16
      <span class="l16 top" tabindex="0" data-t="12 930" data-a="0 1.25"> 語</span>          the strongest

Within a token, `i` holds characters that are there but hard to see, which tokens.css draws; a selection copies them
unchanged. `bdi` holds text that stands for something else: it has no say in the direction of what is around it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from html import escape
from itertools import accumulate, groupby

from django.utils.safestring import SafeString

LEVELS = 16
STOP = ' tabindex="0"'
CACHED = 65_536  # characters of several tokens, kept ready by a vocabulary: some 15 MB

# Seen by themselves although blank or without width, or at work within words and emoji, so they stay in the text.
ODD = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u200c\u200d\ufe00-\ufe0f"
# Control characters, what turns the direction of text, what is invisible or stands for something unknown, and what has
# no meaning that others share. Only \n and \t, of the control characters, stay in the text; no other breaks a line.
NAMED = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufeff\uffa0\ufff0-\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
)
TOKEN_ID = re.compile(r"#([0-9]{1,9})")
PLAIN = re.compile(" ?[A-Za-z0-9]+")  # most tokens; asking first halves the time of a text that nobody saw yet
PIECES = re.compile(
    r"(?P<byte>[\udc80-\udcff]+)|(?P<break>\n)|(?P<tab>\t)"
    # A space is read without help unless it is all there is, or another blank is beside it.
    r"|(?P<blank> {2,}| (?=\s)|(?<=\s) |\A \Z)"
    rf"|(?P<odd>[{ODD}])|(?P<mark>[{NAMED}])|(?P<markup>[&<>\"'])"
)


class Vocabulary:
    """An lm's tokens, each the bytes it stands for; those that are special, such as bos, are not read as text."""

    def __init__(self, tokens: Sequence[bytes], special: frozenset[int] = frozenset()) -> None:
        self._tokens, self._special = tokens, special
        self.together = lru_cache(CACHED)(self._together)
        # Of every token that was seen, at some 200 bytes each: keeping count of which was used last takes longer than
        # all else, as a page asks for thousands.
        self.silent = cache(self._silent)
        self.by_itself = cache(self._by_itself)

    def _alone(self, token: int) -> str:
        """The HTML within the span of one token; "" where its bytes are not whole characters."""
        if not self._is_text(token):
            known = 0 <= token < len(self._tokens) and self._tokens[token]
            return f'<bdi class="special">{_shown(known) if known else f"[{token:d}]"}</bdi>'
        try:
            text = self._tokens[token].decode()
        except UnicodeDecodeError:
            return ""
        return _marked(text)

    def _together(self, ids: tuple[int, ...]) -> str:
        """The HTML within the span of tokens that share characters, or of bytes that never become one."""
        return _shown(b"".join([self._tokens[token] for token in ids]))

    def _silent(self, token: int) -> str:
        """The span of a token that does not fire, ready-made, as most on a page are; "" where bytes are not whole."""
        text = self._alone(token)
        return f"{_opening(f'{token:d}', '0')}{text}</span>" if text else ""

    def _by_itself(self, token: int) -> str:
        """The HTML of one token, of half a character its bytes."""
        return self._alone(token) or self._together((token,))

    def text(self, ids: Sequence[int]) -> list[str]:
        """Each token as text, for programs: half a character becomes the replacement character."""
        known = len(self._tokens)
        return [self._tokens[token].decode(errors="replace") if 0 <= token < known else "" for token in ids]

    def spelled(self, text: str) -> tuple[int, ...]:
        """The tokens that are a text, or that text after a space, as most words are."""
        wanted = {text.encode(), f" {text}".encode()}
        return tuple(token for token, known in enumerate(self._tokens) if known in wanted)

    def continues(self, token: int) -> bool:
        """Whether it begins within a character of UTF-8."""
        return self._is_text(token) and 0x80 <= self._tokens[token][0] < 0xC0

    def _is_text(self, token: int) -> bool:
        return 0 <= token < len(self._tokens) and token not in self._special and self._tokens[token] != b""

    def joined(self, ids: Sequence[int], fragments: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The places of tokens that are not whole as (start, stop), each as short as characters allow."""
        for _, run in groupby(enumerate(fragments), lambda numbered: numbered[1] - numbered[0]):  # of neighbours
            places = [place for _, place in run]
            tokens = [self._tokens[ids[place]] for place in places]
            characters = b"".join(tokens).decode(errors="surrogateescape")
            cuts = set(accumulate(len(character.encode(errors="surrogateescape")) for character in characters))
            start = places[0]
            for place, end in zip(places, accumulate(map(len, tokens)), strict=True):
                if end in cuts:
                    yield start, place + 1
                    start = place + 1


def render(
    vocabulary: Vocabulary,
    ids: Sequence[int],
    activations: Sequence[float],
    *,
    peak: float | None = None,
    first: int = 0,
    at: int | None = None,
    label: str = "Tokens",
) -> SafeString:
    """A text whose tokens are the brighter the more they fire.

    `peak` is what counts as brightest, the maximum of this text unless given; `first` is the position of the first
    token in its context; `at` is the place of a token to point out, the one that an example is of; `label` is what a
    screen reader calls the text.
    """
    if len(ids) != len(activations):
        raise ValueError(f"{len(ids)} tokens, but {len(activations)} activations")
    fired = [(place, value) for place, value in enumerate(activations) if value]
    strongest = max([value for _, value in fired if value > 0], default=0.0)  # NaN is not above 0
    full = peak if peak is not None and peak > 0 else strongest
    top = activations.index(strongest) if strongest else 0

    spans = list(map(vocabulary.silent, ids))
    for place, value in fired if strongest else [*fired, *enumerate(activations[:1])]:
        if spans[place]:
            _, _, rest = spans[place].partition(">")
            spans[place] = _opening(f"{ids[place]:d}", f"{value:.5g}", _level(value, full), place == top) + rest
    halves = [place for place, span in enumerate(spans) if not span] if "" in spans else ()
    for start, stop in vocabulary.joined(ids, halves):
        tokens, values = tuple(ids[start:stop]), tuple(activations[start:stop])
        numbers, figures = _several("%d", stop - start) % tokens, _several("%.5g", stop - start) % values
        opening = _opening(numbers, figures, max([_level(value, full) for value in values]), start <= top < stop)
        spans[start] = f"{opening}{vocabulary.together(tokens)}</span>"
    if at is not None:
        while not spans[at]:  # it shares the span of those before it
            at -= 1
        spans[at] = spans[at].replace("<span", "<span data-at", 1)
    container = f'<div class="tokens" role="group" aria-label="{escape(label)}" dir="auto"'
    return SafeString(f'{container} data-first="{first:d}" data-peak="{full:.5g}">{"".join(spans)}</div>')


def alone(vocabulary: Vocabulary, token: int) -> SafeString:
    """One token by itself, such as in a table."""
    text = vocabulary.by_itself(token)
    return SafeString(f'<span class="token" dir="auto" title="token {token:d}">{text}</span>')


def token_ids(vocabulary: Vocabulary, text: str) -> tuple[int, ...]:
    """Which tokens somebody means by their text, or by # and an id."""
    number = TOKEN_ID.fullmatch(text)
    return (int(number[1]),) if number else vocabulary.spelled(text)


def _level(value: float, full: float) -> int:
    if value >= full > 0:
        return LEVELS
    return int(value / full * LEVELS) + 1 if value > 0 else 0


@cache
def _several(number: str, count: int) -> str:
    return " ".join([number] * count)


def _opening(ids: str, activations: str, level: int = 0, top: bool = False) -> str:
    """The strongest token is where the Tab key enters a text; where none fires, the first is."""
    look = f' class="l{level}{" top" if top else ""}"' if level else ""
    return f'<span{look}{STOP if top else ""} data-t="{ids}" data-a="{activations}">'


def _shown(data: bytes) -> str:
    """Bytes that are no character become lone surrogates, which no bytes decode to, and so are told from characters."""
    return _marked(data.decode(errors="surrogateescape"))


def _marked(text: str) -> str:
    return text if PLAIN.fullmatch(text) else PIECES.sub(_piece, text)


def _piece(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match[0]
    if kind == "markup":
        return escape(text)
    if kind == "byte":
        return f'<bdi class="byte">{text.encode(errors="surrogateescape").hex(" ").upper()}</bdi>'
    if kind == "mark":
        return f'<bdi class="mark">U+{ord(text):04X}</bdi>'
    return f'<i class="{kind}">{text}</i>'
