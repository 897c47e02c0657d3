"""How a map is shown: `python -m benchmarks.map`.

Made-up maps of 16,384, 100,000 and 1,000,000 points (`--points`), served by the real server to a headless Chromium, all
on this machine and without a GPU:

- when the first picture of density, the first points and all that are drawn at rest are there, after the address was
  asked for; what has moved by then, and the page's memory;
- a tour of 20 seconds, in which it is dragged and zoomed by turns without a rest: the time between frames, beside a
  page that draws as many points with plain WebGL in every frame (20,000, which a map draws anew while it moves);
- how long it takes to say which of the drawn points the pointer is at, and to answer a lasso over all points: from
  letting go until the summary is on the page.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from benchmarks import machine, servers
from benchmarks.servers import Serving
from benchmarks.web_floor import CHOSEN, PROCESSES
from tests.tools import ARGUMENTS, find_chromium

SIZES = (16_384, 100_000, 1_000_000)
SCREEN: ViewportSize = {"width": 1440, "height": 900}
TOUR = 20.0  # seconds
IN_MOTION = 20_000  # points
BARS = {"density_ms": 1000, "points_ms": 2000, "rest_ms": 400, "frame_ratio": 1.5}
SCRIPTS = Path(__file__).parent / "map_scripts"
FRAMES = """() => {
  window.frames = [];
  let last = performance.now();
  const frame = (now) => { window.frames.push(now - last); last = now; window.framing = requestAnimationFrame(frame); };
  window.framing = requestAnimationFrame(frame);
}"""
STOP = "() => { cancelAnimationFrame(window.framing); return window.frames.slice(1); }"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=5, help="times that each page is opened")
    parser.add_argument("--seconds", type=float, default=TOUR, help="of the tour")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load = machine.OtherLoad()
    with _served(asked.points) as (server, site), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        bare = frames_of(_bare(browser), asked.seconds)
        maps = {n: _map(browser, server, site, site["maps"][str(n)], asked.rounds, asked.seconds) for n in asked.points}
        browser.close()
    _print(bare, maps, load.share())
    return 0


@contextmanager
def _served(sizes: Sequence[int]) -> Iterator[tuple[Serving, dict[str, Any]]]:
    with servers.data_folder() as places, servers.postgres(places):
        variables = servers.environment(places, "explorer.settings")
        _say(f"making maps of {', '.join(f'{n:,}' for n in sizes)} points")
        command = [sys.executable, "-m", "benchmarks.map_inside", *map(str, sizes)]
        done = subprocess.run(command, cwd=servers.ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"making the maps failed:\n{done.stderr}")
        site = json.loads(done.stdout.splitlines()[-1])
        log = places.log / "web.log"
        with servers.serving(CHOSEN.words, log, variables, inherits=CHOSEN.inherits, processes=PROCESSES) as server:
            server.wait()
            yield server, site


def _map(
    browser: Browser, server: Serving, site: dict[str, Any], path: str, rounds: int, seconds: float
) -> dict[str, Any]:
    address = f"http://127.0.0.1:{server.port}{path}"
    opened = []
    for number in range(rounds + 1):
        context = _signed_in(browser, server, site)
        page = context.new_page()
        figures = _open(page, address)
        if number:  # the first warms the server up
            opened.append(figures)
        if number < rounds:
            context.close()
    medians = {name: statistics.median(each[name] for each in opened) for name in opened[0]}
    frames = _tour(page, seconds)
    _say(f"{path}: {medians}, frames {_p(frames)}")
    found = medians | {"frames": frames, "rest_ms": _rests(page), "pick_ms": _picks(page), "lasso_ms": _lassos(page)}
    found["memory_mb"] = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    context.close()
    return found


def _signed_in(browser: Browser, server: Serving, site: dict[str, Any]) -> BrowserContext:
    context = browser.new_context(viewport=SCREEN)
    name, value = site["session"]
    context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{server.port}"}])
    return context


def _open(page: Page, address: str) -> dict[str, float]:
    page.goto(address)
    page.wait_for_selector(".stage[data-points]", timeout=60_000)
    marks = dict(page.evaluate("performance.getEntriesByType('mark').map(({ name, startTime }) => [name, startTime])"))
    moved = page.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/maps/'))"
        ".reduce((sum, { transferSize }) => sum + transferSize, 0)"
    )
    return {
        "density_ms": marks["map-density"],
        "points_ms": marks["map-points"],
        "all_ms": marks["map-rest"],
        "moved_bytes": moved,
    }


def _tour(page: Page, seconds: float) -> list[float]:
    """Dragged about and zoomed, by the events that a hand makes, one a frame, without a rest."""
    page.evaluate(FRAMES)
    page.evaluate(_script("tour"), seconds)
    frames: list[float] = page.evaluate(STOP)
    return frames


def _rests(page: Page, times: int = 7) -> float:
    """From a move of the whole map until all that are drawn at rest are there, without the pause that tells a rest."""
    _whole(page)
    taken = []
    for number in range(times):
        taken.append(page.evaluate(_script("rest"), "ArrowLeft" if number % 2 else "ArrowRight"))
        page.wait_for_timeout(400)  # nothing else to wait for: tiles beside the view may still come
    return float(statistics.median(taken[1:]))


def _whole(page: Page) -> None:
    page.evaluate(_script("whole"))


def _picks(page: Page) -> list[float]:
    """Of events of a pointer that moves over the points, what each took: to find the nearest and to say so."""
    taken: list[float] = page.evaluate(_script("pick"))
    return taken


def _lassos(page: Page, times: int = 7) -> float:
    _whole(page)
    for number in range(times):
        box = page.locator(".stage").bounding_box()
        assert box
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        radius = 90 + 20 * number
        page.keyboard.down("Shift")
        page.mouse.move(middle[0] - radius, middle[1] - radius)
        page.mouse.down()
        for dx, dy in ((1, -1), (1.2, 0), (1, 1), (0, 1.2), (-1, 1)):
            page.mouse.move(middle[0] + radius * dx, middle[1] + radius * dy, steps=6)
        page.mouse.up()
        page.keyboard.up("Shift")
        page.locator(f".map[data-selections='{number + 1}']").wait_for()
    taken: list[float] = page.evaluate("performance.getEntriesByName('map-selection').map(({ duration }) => duration)")
    return statistics.median(taken)


def _bare(browser: Browser) -> Page:
    """A page of its own that draws so many points of 3 pixels in every frame by a shader of three lines."""
    page = browser.new_context(viewport=SCREEN).new_page()
    page.evaluate(_script("bare"), IN_MOTION)
    return page


def _script(name: str) -> str:
    return (SCRIPTS / f"{name}.js").read_text()


def frames_of(page: Page, seconds: float) -> list[float]:
    page.evaluate(FRAMES)
    page.wait_for_timeout(1000 * seconds)
    frames: list[float] = page.evaluate(STOP)
    page.context.close()
    return frames


def _print(bare: list[float], maps: dict[int, dict[str, Any]], busy: float) -> None:
    on, floor = machine.describe(), _p(bare)
    print(f"{machine.in_words(on)}; other load took {busy:.0%} of it")
    print(f"bare WebGL, {IN_MOTION:,} points: frames {floor['p50']:.0f} ms, p95 {floor['p95']:.0f} ms\n")
    figures = {}
    for n, found in maps.items():
        frames, picks = _p(found["frames"]), _p(found["pick_ms"])
        figures[n] = found | {
            "frames": frames, "pick_ms": picks, "frame_ratio": frames["p95"] / floor["p95"],
        }  # fmt: skip
        print(
            f"{n:>9,} points: density {found['density_ms']:.0f} ms, first points {found['points_ms']:.0f}, "
            f"all {found['all_ms']:.0f}; at rest again {found['rest_ms']:.0f}; "
            f"{found['moved_bytes'] / 1e6:.1f} MB moved, {found['memory_mb']:.0f} MB of memory\n"
            f"           in motion {frames['p50']:.0f} ms, p95 {frames['p95']:.0f} "
            f"({figures[n]['frame_ratio']:.2f} of bare); picking p95 {picks['p95']:.2f} ms; "
            f"lasso {found['lasso_ms']:.0f} ms"
        )
    print(json.dumps({
        "benchmark": "map", "machine": on, "other_load": busy, "bare": floor, "maps": figures, "bars": BARS,
    }))  # fmt: skip


def _p(taken: Sequence[float]) -> dict[str, float]:
    ordered = sorted(taken)
    return {"p50": statistics.median(ordered), "p95": ordered[round(0.95 * (len(ordered) - 1))], "n": len(ordered)}


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
