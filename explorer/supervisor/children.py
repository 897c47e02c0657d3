"""A process that is kept running: started again when it dies, after a growing pause."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PAUSE_FIRST, PAUSE_LAST = 0.25, 30.0  # seconds before a dead child is started again
WELL = 30.0  # having run for so long, it starts again with the first pause


@dataclass
class Child:
    name: str
    spawn: Callable[[], subprocess.Popen[bytes]]
    say: Callable[[str], None]
    process: subprocess.Popen[bytes] | None = None
    _pause: float = PAUSE_FIRST
    _started_at: float = 0.0
    _start_at: float = field(default=0.0)

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """Takes over one that was started with more care."""
        self.process = process
        self._started_at = time.monotonic()

    def tend(self) -> float:
        """Starts it when it is due; returns for how many seconds nothing needs to be done."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return PAUSE_LAST
            self._note_death(self.process.returncode, now)
        if now < self._start_at:
            return self._start_at - now
        self.process = self.spawn()
        self._started_at = now
        return PAUSE_LAST

    def _note_death(self, code: int, now: float) -> None:
        self.process = None
        if now - self._started_at >= WELL:
            self._pause = PAUSE_FIRST
        self._start_at = now + self._pause
        self.say(f"{self.name} {_ended(code)}; it starts again in {self._pause:g} s")
        self._pause = min(self._pause * 2, PAUSE_LAST)

    def ask_to_end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def see_to_its_end(self, deadline: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.say(f"{self.name} does not end when asked to; it is killed, and its jobs go to the next worker")
            self.process.kill()
            self.process.wait()


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended (exit {code})"
