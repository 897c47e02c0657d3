"""The pages that this process made last, so that a person who asks for one again without saying which they have, by
another tab or a reload that is forced, does not wait for it to be made again."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

ROOM = 48 << 20  # bytes
LARGEST = 2 << 20
# What views say to middleware: whether a page may be framed, and a policy of its own.
MARKS = ("xframe_options_exempt", "_csp_config", "_csp_exempt", "_csp_replace", "_csp_update")


@dataclass(frozen=True, slots=True)
class Made:
    content: bytes
    headers: dict[str, str]
    marks: dict[str, Any]

    def response(self) -> HttpResponse:
        answer = HttpResponse(self.content, headers=self.headers)
        answer.__dict__.update(self.marks)
        return answer


class MadePages:
    """By their ETags, which say all that a page depends on; those that nobody has asked for longest go first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._taken = room, 0
        self._pages: OrderedDict[str, Made] = OrderedDict()
        self._lock = threading.Lock()  # pages are made in several threads

    def get(self, etag: str) -> HttpResponse | None:
        with self._lock:
            made = self._pages.get(etag)
            if made:
                self._pages.move_to_end(etag)
        return made.response() if made else None

    def put(self, etag: str, answer: HttpResponse) -> None:
        content = bytes(answer.content)
        if len(content) > min(LARGEST, self._room):
            return
        marks = {name: answer.__dict__[name] for name in MARKS if name in answer.__dict__}
        with self._lock:
            if etag in self._pages:
                return
            self._pages[etag] = Made(content, dict(answer.items()), marks)
            self._taken += len(content)
            while self._taken > self._room:
                _, oldest = self._pages.popitem(last=False)
                self._taken -= len(oldest.content)
