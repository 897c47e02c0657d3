"""The environment readers, and what the settings make of them: each fault is said by its variable's name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from explorer import env
from tests.supervised import clean_environment

ROOT = Path(__file__).resolve().parent.parent


def set_to(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EXPLORER_TRIED", value)


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    env.KNOWN.pop("EXPLORER_TRIED", None)


@pytest.mark.parametrize("value", ["0", "11", "3.5", "three", "1e3", "٣ ", "--3", "9" * 30])
def test_a_number_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_to(monkeypatch, value)
    with pytest.raises(ImproperlyConfigured, match=r"EXPLORER_TRIED=.*: a whole number from 1 to 10 is wanted"):
        env.integer("EXPLORER_TRIED", 5, "", least=1, most=10)


@pytest.mark.parametrize(("value", "expected"), [("3", 3), (" 10 ", 10), ("", 5), ("   ", 5)])
def test_a_number_is_read(monkeypatch: pytest.MonkeyPatch, value: str, expected: int) -> None:
    set_to(monkeypatch, value)
    assert env.integer("EXPLORER_TRIED", 5, "", least=1, most=10) == expected


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0", "soon", "1e9"])
def test_seconds_are_finite_and_positive(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_to(monkeypatch, value)
    with pytest.raises(ImproperlyConfigured, match=r"EXPLORER_TRIED=.*: a number of seconds"):
        env.seconds("EXPLORER_TRIED", 5, "")


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("off", False), ("No", False), ("", True)]
)
def test_a_flag_is_read(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    set_to(monkeypatch, value)
    assert env.flag("EXPLORER_TRIED", True, "") is expected


def test_a_flag_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, "maybe")
    with pytest.raises(ImproperlyConfigured, match=r"EXPLORER_TRIED='maybe': one of 1, true"):
        env.flag("EXPLORER_TRIED", True, "")


def test_names_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, " a.example, ,b.example,")
    assert env.names("EXPLORER_TRIED", (), "") == ("a.example", "b.example")


def test_a_database_address_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, "postgresql://ann:p%40ss@db.example:6000/sae?sslmode=require&application_name=x")
    assert env.database("EXPLORER_TRIED", "") == {
        "NAME": "sae",
        "USER": "ann",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "6000",
        "OPTIONS": {"sslmode": "require", "application_name": "x"},
    }


def test_a_database_address_on_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, "postgresql://ann@/sae?host=%2Frun%2Fpostgres")
    found = env.database("EXPLORER_TRIED", "")
    assert found
    assert (found["HOST"], found["NAME"], found["PORT"]) == ("/run/postgres", "sae", "")


@pytest.mark.parametrize(
    "value",
    ["sqlite:///s3cret", "postgresql://ann:s3cret@host", "postgresql://ann:s3cret@host:port/x", "postgres://[s3cret/x"],
)
def test_a_wrong_address_is_refused_without_repeating_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_to(monkeypatch, value)
    with pytest.raises(ImproperlyConfigured, match=r"^EXPLORER_TRIED: ") as refused:
        env.database("EXPLORER_TRIED", "")
    assert "s3cret" not in str(refused.value)


def test_a_broker_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, "http://s3cret")
    with pytest.raises(ImproperlyConfigured, match=r"^EXPLORER_TRIED: an address that starts with one of redis://"):
        env.broker("EXPLORER_TRIED", "")


def test_json_that_is_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("[1]", "{"):
        set_to(monkeypatch, value)
        with pytest.raises(ImproperlyConfigured, match=r"EXPLORER_TRIED=.*: a JSON object is wanted"):
            env.json_object("EXPLORER_TRIED", "")


def settings_with(data: Path, ask: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from explorer import settings; print({ask})"],
        cwd=ROOT,
        env=clean_environment(data, 8000, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"EXPLORER_PRODUCTION": "1"}, "EXPLORER_SECRET_KEY: in production it must be set"),
        ({"EXPLORER_PRODUCTION": "1", "EXPLORER_DEBUG": "1"}, "EXPLORER_DEBUG and EXPLORER_PRODUCTION"),
        ({"EXPLORER_JOB_HEARTBEAT": "20"}, "EXPLORER_JOB_HEARTBEAT=20: one missed heartbeat would lose a job"),
        ({"CELERY_BROKER_URL": "memory://"}, "CELERY_BROKER_URL: an address"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL: an address like postgresql://"),
        ({"PORT": "70000"}, "PORT='70000': a whole number from 1 to 65535"),
        ({"EXPLORER_LOG_LEVEL": "loud"}, "EXPLORER_LOG_LEVEL='loud': one of"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    done = settings_with(tmp_path, "1", **variables)
    assert done.returncode != 0
    assert said in done.stderr


def test_nothing_configured_is_enough(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "settings.EMBEDDED_POSTGRES, settings.EMBEDDED_BROKER, settings.DEBUG")
    assert done.stdout == "True True False\n"


def test_production_generates_nothing(tmp_path: Path) -> None:
    done = settings_with(tmp_path, "settings.SECRET_KEY", EXPLORER_PRODUCTION="1", EXPLORER_SECRET_KEY="k" * 60)
    assert done.stdout == "k" * 60 + "\n"
    assert list(tmp_path.iterdir()) == []


def test_the_readme_lists_every_variable() -> None:
    """Its table is held against the readers, names and purposes alike."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| .*? \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    known = {name: variable.about.replace("|", "\\|") for name, variable in env.KNOWN.items()}
    assert dict(rows) == known


def test_a_misspelt_variable_is_pointed_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=clean_environment(tmp_path, 8000, EXPLORER_WEBPROCESSES="3"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "EXPLORER_WEBPROCESSES is set, and nothing reads it." in done.stderr
    assert "Did you mean EXPLORER_WEB_PROCESSES?" in done.stderr


def test_a_wrong_setting_is_said_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=clean_environment(tmp_path, 8000) | {"PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "A setting is wrong. PORT='eighty': a whole number from 1 to 65535 is wanted\n"


def test_deploy_checks_are_clean_in_production(tmp_path: Path) -> None:
    variables = {
        "EXPLORER_PRODUCTION": "1",
        "EXPLORER_SECRET_KEY": os.urandom(40).hex(),
        "EXPLORER_ALLOWED_HOSTS": "sae.example",
        "DATABASE_URL": "postgresql://ann:x@db.example/sae",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=clean_environment(tmp_path, 8000, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
