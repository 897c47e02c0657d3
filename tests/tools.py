"""Finding the programs that some tests need, and installing them: `python -m tests.tools`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Without a display, a sandbox (root) or the network; the rest keeps it from phoning home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """CHROMIUM, the usual names and places, then Playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    for name in CHROMIUMS:
        if found := shutil.which(name):
            return found
    for place in CHROMIUM_PLACES:
        if Path(place).exists():
            return place
    return _playwrights_own()


def find_redis() -> str | None:
    return os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or shutil.which("valkey-server")


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> int:
    """Installs what is missing: 0 when both are there afterwards."""
    if not find_chromium():
        _try([sys.executable, "-m", "playwright", "install", "chromium"])
    packages = [name for name, found in (("chromium", find_chromium()), ("redis-server", find_redis())) if not found]
    if packages and shutil.which("apt-get") and os.geteuid() == 0:
        _try(["apt-get", "update", "-qq"])
        # Debian's redis-server would start itself as a service; the tests start their own.
        _try(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])
    missing = [
        f"{what}: set {variable} to its path, or install it"
        for what, variable, found in (
            ("Chromium", "CHROMIUM", find_chromium()),
            ("a Redis server", "REDIS_SERVER", find_redis()),
        )
        if not found
    ]
    for line in missing:
        print(f"The tests that need {line}.", file=sys.stderr)
    return int(bool(missing))


def _try(command: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        print(f"did not work: {' '.join(command)}", file=sys.stderr)


if __name__ == "__main__":
    # Missing programs skip tests on a person's machine and fail them in CI (conftest.py).
    missing = install()
    sys.exit(missing if os.environ.get("CI") else 0)
