"""What axe-core, vendored, finds wrong in a page as it is now."""

from pathlib import Path

from playwright.sync_api import Page

SOURCE = Path(__file__).resolve().parent.parent / "vendor" / "axe-4.14.1.min.js"
SERIOUS = ("serious", "critical")


def serious(page: Page) -> list[str]:
    """One line for each element: the rule, and the element."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(SOURCE.read_text())  # as the browser's own tools do it, which no policy forbids
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10, "axe has looked at nothing"
    return [
        f"{rule['id']}: {node['target'][0]}: {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]
