import math
from collections.abc import Sequence

from explorer.tokens import Vocabulary, render

INF, NAN, TINY = math.inf, math.nan, 5e-324


def spans(tokens: Sequence[bytes], activations: Sequence[float] | None = None, special: Sequence[int] = ()) -> str:
    """The tokens of a vocabulary, in their order, without the element around them."""
    html = render(Vocabulary(tokens, frozenset(special)), range(len(tokens)), activations or [0.0] * len(tokens))
    opening, _, rest = html.partition(">")
    assert opening.startswith('<div class="tokens" ')
    return rest.removesuffix("</div>")
