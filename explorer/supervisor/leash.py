"""Children that die with their parent, also when the parent is killed with -9."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def dying_with_parent(sign: signal.Signals) -> Callable[[], None] | None:
    """For Popen(preexec_fn=…): asks the kernel to send `sign` when the parent's thread ends.

    It must run after the change of user, which clears it; Popen does so. None where the kernel has no
    such signal (macOS): there our own children watch their standard input instead, and a PostgreSQL
    left behind is stopped by the next start.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: loading after it may deadlock
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, sign, 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return ask


def watch_standard_input() -> None:
    """Ends this process when its standard input does: the supervisor holds the other end."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="leash", daemon=True).start()
