"""Readers of environment variables: each says what it is for, and fails by name.

`KNOWN` lists all that were read, so that a misspelt one can be pointed out (checks.py) and the
README's table can be held against the code.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

T = TypeVar("T")


@dataclass(frozen=True)
class Variable:
    name: str
    default: str
    about: str


KNOWN: dict[str, Variable] = {}


def _read(name: str, default: T, about: str, parse: Callable[[str], T], *, hide: bool = False) -> T:
    KNOWN[name] = Variable(name, "" if default is None else str(default), about)
    value = os.environ.get(name, "").strip()
    if not value:  # compose files and unit files set a variable to nothing to mean "not set"
        return default
    try:
        return parse(value)
    except ValueError as wrong:
        shown = "" if hide else f"={value!r}"
        raise ImproperlyConfigured(f"{name}{shown}: {wrong}") from None


def text(name: str, default: str, about: str) -> str:
    return _read(name, default, about, str)


def one_of(name: str, default: str, choices: tuple[str, ...], about: str) -> str:
    def parse(value: str) -> str:
        if value.upper() not in choices:
            raise ValueError(f"one of {', '.join(choices)} is wanted")
        return value.upper()

    return _read(name, default, about, parse)


def secret(name: str, about: str) -> str:
    return _read(name, "", about, str, hide=True)


def integer(name: str, default: int, about: str, *, least: int, most: int) -> int:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most} is wanted")
        return int(value)

    return _read(name, default, about, parse)


def seconds(name: str, default: float, about: str, *, least: float = 0.05, most: float = 86_400) -> float:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ValueError(f"a number of seconds from {least:g} to {most:g} is wanted")
        return number

    return _read(name, default, about, parse)


def flag(name: str, default: bool, about: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def parse(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError(f"one of {', '.join(words)} is wanted")
        return words[value.lower()]

    return _read(name, default, about, parse)


def names(name: str, default: tuple[str, ...], about: str) -> tuple[str, ...]:
    return _read(name, default, about, lambda value: tuple(part.strip() for part in value.split(",") if part.strip()))


def path(name: str, default: Path, about: str) -> Path:
    return Path(_read(name, str(default), about, str)).expanduser().absolute()


def folders(name: str, default: tuple[Path, ...], about: str) -> tuple[Path, ...]:
    """By commas, or as PATH has them."""

    def parse(value: str) -> tuple[Path, ...]:
        found = tuple(Path(part.strip()).expanduser() for part in re.split(f"[,{os.pathsep}]", value) if part.strip())
        for folder in found:
            if not folder.is_absolute():
                raise ValueError(f"{folder} is no absolute path")
        return found

    return _read(name, default, about, parse)


def json_object(name: str, about: str) -> dict[str, Any] | None:
    def parse(value: str) -> dict[str, Any] | None:
        try:
            found = json.loads(value)
        except json.JSONDecodeError as wrong:
            raise ValueError(f"a JSON object is wanted ({wrong})") from None
        if not isinstance(found, dict):
            raise ValueError("a JSON object is wanted")
        return found

    return _read(name, None, about, parse)


def database(name: str, about: str) -> dict[str, Any] | None:
    """A PostgreSQL address as Django's DATABASES wants it; libpq itself parses it."""

    def parse(value: str) -> dict[str, Any] | None:
        if not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("an address like postgresql://user:password@host:5432/name is wanted")
        try:
            parts = conninfo_to_dict(value)
        except ProgrammingError:  # libpq's message repeats the address, password and all
            raise ValueError("PostgreSQL's client library cannot read this address") from None
        if not re.fullmatch(r"[0-9,]*", str(parts.get("port") or "")):
            raise ValueError("its port is no number")
        if not parts.get("dbname"):
            raise ValueError("it names no database (…/name)")
        django = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
        settings: dict[str, Any] = {ours: str(parts.pop(theirs, "") or "") for theirs, ours in django.items()}
        return {**settings, "OPTIONS": parts}

    return _read(name, None, about, parse, hide=True)


def broker(name: str, about: str) -> str | None:
    """The address of a message broker."""
    schemes = ("redis://", "rediss://", "amqp://", "amqps://")

    def parse(value: str) -> str | None:
        if not value.startswith(schemes):
            raise ValueError(f"an address that starts with one of {', '.join(schemes)} is wanted")
        return value

    return _read(name, None, about, parse, hide=True)
