"""What a configuration file says, looked at field by field."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_core.errors import BadInput

CONFIG_CAP = 4 << 20  # bytes


class Fields:
    """One object of a JSON file; every refusal names the file and the key."""

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self.path = path
        self.values = values
        self.prefix = prefix

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def whole(self, key: str) -> int:
        value = self.values.get(key)
        if type(value) is not int:
            raise self.wrong(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        value = self.values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.wrong(key, "a number")
        return float(value)

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "text")
        return value

    def truth(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def within(self, key: str) -> "Fields":
        """An object in this one; empty where there is none."""
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Fields(self.path, value, f"{self.prefix}{key}.")

    def wrong(self, key: str, expected: str) -> BadInput:
        found = f"is {self.values[key]!r}" if key in self.values else "is missing"
        return BadInput(f"{self.path}: {self.prefix}{key} {found}, expected {expected}")


def read_fields(path: Path) -> Fields:
    try:
        if path.stat().st_size > CONFIG_CAP:
            raise BadInput(f"{path}: {path.stat().st_size:,} bytes, expected a configuration of at most {CONFIG_CAP:,}")
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise BadInput(f"{path}: holds a {type(values).__name__}, expected an object")
    return Fields(path, values)
