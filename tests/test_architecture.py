"""The arrows of the design: who may import whom, and what a web process must not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for half in ("explorer", "sae_core")
    for path in (ROOT / half).rglob("*.py")
    if "migrations" not in path.parts
}

# The left side may import none of the right.
FORBIDDEN = {
    "sae_core": ["explorer", "django", "celery", "psycopg"],
    # The Sae knows no files, its files no lm, and an lm no SAE; `attached` brings the two together.
    "sae_core.sae": ["sae_core.formats", "sae_core.lm", "sae_core.tensor_files", "sae_core.attached"],
    "sae_core.formats": ["sae_core.lm", "sae_core.attached", "sae_core.corpus", "sae_core.metrics", "sae_core.fit"],
    "sae_core.lm": ["sae_core.sae", "sae_core.formats", "sae_core.attached", "sae_core.lens", "sae_core.corpus"],
    "sae_core.attention_only": ["sae_core"],  # a class of transformers, which knows nothing of ours
    "sae_core.corpus": ["sae_core.lm", "sae_core.sae"],
    # Training is told where activations come from; how one SAE learns knows neither lm nor files.
    "sae_core.training.trainer": ["sae_core.lm", "sae_core.formats", "sae_core.corpus", "sae_core.training.sources"],
    "sae_core.training.sources": ["sae_core.sae", "sae_core.training.trainer", "sae_core.training.buffer"],
    "sae_core.training": ["sae_core.train", "sae_core.metrics", "sae_core.fit", "sae_core.attached"],
    "explorer.models": ["explorer.queries", "explorer.actions", "explorer.views", "explorer.work", "explorer.tasks"],
    "explorer.queries": ["explorer.actions", "explorer.views", "explorer.work", "explorer.tasks", "explorer.forms"],
    "explorer.actions": ["explorer.views", "explorer.work", "explorer.tasks", "explorer.forms", "explorer.streams"],
    "explorer.work": ["explorer.views", "explorer.tasks", "explorer.forms", "explorer.streams"],
    "explorer.views": ["explorer.work", "explorer.tasks", "explorer.supervisor", "explorer.management"],
    "explorer.api": ["explorer.views", "explorer.work", "explorer.tasks", "explorer.forms", "explorer.supervisor"],
    "explorer.gates": ["explorer.actions", "explorer.views", "explorer.api", "explorer.work", "explorer.forms"],
    "explorer.access": ["explorer.queries", "explorer.actions", "explorer.views", "explorer.api"],
    "explorer.front": ["explorer.queries", "explorer.actions", "explorer.views", "explorer.api", "explorer.work"],
    "explorer.roots": ["explorer.models", "explorer.forms", "explorer.views"],
    "explorer.figures": ["explorer.queries", "explorer.actions", "explorer.views", "explorer.work"],
    "explorer.excerpts": ["explorer.actions", "explorer.views", "explorer.work"],
    # Criteria, points and evidence are plain values.
    "explorer.studies": ["explorer.models", "explorer.queries", "explorer.actions", "explorer.views", "explorer.work"],
    "explorer.settings": ["explorer.models", "explorer.supervisor", "torch"],
}
# Only these may import what stands on the left.
IMPORTERS = {
    "sae_core": ["sae_core", "explorer.work"],
    "torch": ["sae_core"],
    "transformers": ["sae_core"],
    "safetensors": ["sae_core"],
    "huggingface_hub": ["sae_core"],
    "explorer.work": [
        "explorer.work",
        "explorer.tasks",
        "explorer.management.commands.run_job",
        "explorer.management.commands.explore",
    ],
    "explorer.tasks": [],
    "explorer.views": ["explorer.views", "explorer.urls", "explorer.middleware"],
    "explorer.api": ["explorer.api", "explorer.urls"],
    "explorer.front": ["explorer.front", "explorer.asgi", "explorer.gates"],
    "ninja": ["explorer.api"],
    "explorer.supervisor": ["explorer.supervisor", "explorer.management", "explorer.backup"],
}
LIBRARIES = {"torch", "transformers", "safetensors", "huggingface_hub", "ninja"}
# An import inside a function needs a reason; these have one.
LATE = {
    ("explorer.mapped", "numpy"),  # a web process loads it once somebody searches or opens a map
    ("explorer.apps", "explorer.checks"),  # checks register themselves once the apps are ready
    ("explorer.apps", "explorer.actions.rubrics"),  # so do models
}


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """What a module imports, and whether inside a function."""
    tree = ast.parse(MODULES[module].read_text())
    inside = {
        inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in MODULES else str(node.module), node in inside) for name in names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    for imported, late in imports(module):
        for package, forbidden in FORBIDDEN.items():
            if within(module, package):
                assert not any(within(imported, each) for each in forbidden), f"{module} imports {imported}"
        for package, importers in IMPORTERS.items():
            if within(imported, package):
                assert any(within(module, each) for each in importers), f"{module} imports {imported}"
        if late:
            assert (module, imported) in LATE, f"{module} imports {imported} inside a function"


def test_the_arrows_are_looked_at() -> None:
    """The sets above name what there is, so a renamed package cannot slip out of them."""
    named = {package for package in [*FORBIDDEN, *IMPORTERS] if package not in LIBRARIES}
    assert {package for package in named if not any(within(module, package) for module in MODULES)} == set()
    assert len(MODULES) > 40


@pytest.mark.parametrize(
    "statement",
    ["import explorer.asgi", "import explorer.settings", "from django.core.management import call_command; "
     "import django; django.setup(); call_command('check')"],
)  # fmt: skip
def test_a_web_process_loads_no_torch(statement: str) -> None:
    heavy = "{'torch', 'sae_core', 'numpy', 'transformers'}"
    code = f"{statement}\nimport sys\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_start_nothing() -> None:
    """No thread, no process, no connection; only the secret key may be made."""
    code = (
        "import os, threading, explorer.settings, psutil; me = psutil.Process();"
        "assert threading.active_count() == 1; assert not me.children(); assert not me.net_connections()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
