import json
from pathlib import Path

import pytest
from django.templatetags.static import static
from pytest_django import Settings

from explorer.supervisor import static_files


@pytest.fixture
def source(settings: Settings, tmp_path: Path) -> Path:
    settings.STATICFILES_DIRS = [tmp_path / "source"]
    settings.STATIC_ROOT = tmp_path / "root"
    manifest = {"BACKEND": "explorer.static_storage.StaticStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": manifest}
    file = tmp_path / "source" / "look.css"
    file.parent.mkdir()
    file.write_text("body { color: red }" * 50)
    return file


def hashed(root: Path) -> str:
    found: str = json.loads((root / "staticfiles.json").read_text())["paths"]["look.css"]
    return found


def test_they_are_gathered_once_and_again_when_they_change(source: Path, settings: Settings) -> None:
    static_files.collect()
    first = hashed(settings.STATIC_ROOT)
    assert (settings.STATIC_ROOT / f"{first}.gz").exists()

    (settings.STATIC_ROOT / first).unlink()
    static_files.collect()
    assert not (settings.STATIC_ROOT / first).exists(), "nothing had changed, so nothing was done"

    source.write_text("body { color: blue }" * 50)
    static_files.collect()
    second = hashed(settings.STATIC_ROOT)
    assert second != first
    assert (settings.STATIC_ROOT / second).read_text() == source.read_text()


def test_addresses_are_those_of_the_files(source: Path, settings: Settings) -> None:
    static_files.collect()
    for _ in range(2):
        assert static("look.css") == f"/static/{hashed(settings.STATIC_ROOT)}"


def test_a_run_that_is_cut_short_is_done_again(source: Path, settings: Settings) -> None:
    static_files.collect()
    source.write_text("body { background: url('missing.png') }")  # which collecting fails on
    for _ in range(2):
        with pytest.raises(Exception, match=r"missing\.png"):
            static_files.collect()
    source.write_text("body { color: green }")
    static_files.collect()
    assert "green" in (settings.STATIC_ROOT / hashed(settings.STATIC_ROOT)).read_text()


def test_modules_import_each_other_as_they_are_named_in_the_end(source: Path, settings: Settings) -> None:
    """A browser keeps them for ever, and would go on with an old one of another name."""
    modules = source.parent / "js" / "map"
    modules.mkdir(parents=True)
    (modules / "one.js").write_text('import { two } from "./two.js";\ntwo();\n')
    (modules / "two.js").write_text("export const two = () => {};\n")
    static_files.collect()
    paths = json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"]
    named = Path(paths["js/map/two.js"]).name
    assert named != "two.js"
    one = (settings.STATIC_ROOT / paths["js/map/one.js"]).read_text()
    assert one == f'import {{ two }} from "./{named}";\ntwo();\n'
