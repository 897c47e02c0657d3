"""The README's first command, in a fresh clone, as a stranger would: packages are really installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.processes import ROOT
from tests.supervised import Up, gone

INSTALLING = 1_500  # seconds; a slow network

pytestmark = [pytest.mark.slow, pytest.mark.timeout(INSTALLING + 120)]


def test_make_demo_reaches_a_signed_in_page_and_ctrl_c_leaves_nothing(tmp_path: Path, browser: Browser) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    up = Up(tmp_path / "data", command=["make", "-C", str(clone), "demo"])
    try:
        link = up.wait_until_greeted(within=INSTALLING)
        family = up.family()
        page = browser.new_page()
        page.goto(link)
        expect(page.get_by_role("heading", name="Library")).to_be_visible()
        expect(page.locator(".who")).to_have_text("admin")
        page.get_by_role("button", name="Check this installation").click()
        expect(page.locator(".panel .state").first).to_have_text("Done", timeout=60_000)
        page.close()

        up.interrupt()  # the terminal's Ctrl-C, for make and all it started
        up.popen.wait(30)
    finally:
        up.close()
    assert gone(family, within=5)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "artifacts", "log", "postgres", "secret_key", "static"
    }  # fmt: skip
    left = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert left.stdout == "", "what it makes is ignored by git"
    shutil.rmtree(clone)


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo "Python 3.9.1";; *) exit 1;; esac\n')
    old.chmod(0o755)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={old}"], cwd=clone, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "Python 3.11 or later is needed; PYTHON=… names one (this is Python 3.9.1)." in done.stdout
