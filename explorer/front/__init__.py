"""What a request passes before Django: who sends it is settled, and how much of it there may be."""

from collections.abc import Awaitable, Callable

from explorer.pages import Receive, Scope, Send

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
