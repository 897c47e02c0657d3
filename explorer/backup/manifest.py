"""What an archive holds and how to tell that it came through whole."""

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from explorer.artifacts import SHA256
from explorer.backup import Failed

FORMAT = 1
NAME = "manifest.json"
SECRET_KEY = "secret_key"  # noqa: S105  a member's name

T = TypeVar("T")
Migration = tuple[str, str]  # app, name


@dataclass(frozen=True)
class TableRows:
    """The rows of one table; size and sha256 are those of the unpacked copy data."""

    table: str
    columns: tuple[str, ...]
    rows: int
    size: int
    sha256: str

    @property
    def member(self) -> str:
        return f"rows/{self.table}.copy.gz"


@dataclass(frozen=True)
class ArtifactFile:
    sha256: str
    size: int

    @property
    def member(self) -> str:
        return f"artifacts/{self.sha256}"


@dataclass(frozen=True)
class Manifest:
    release: str
    made_at: str
    migrations: frozenset[Migration]
    tables: tuple[TableRows, ...]
    artifacts: tuple[ArtifactFile, ...]
    secret_key: str | None  # its file's sha256

    @property
    def members(self) -> list[str]:
        key = [SECRET_KEY] if self.secret_key else []
        return [*(each.member for each in self.tables), *(each.member for each in self.artifacts), *key, NAME]

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "format": FORMAT,
                "release": self.release,
                "made_at": self.made_at,
                "migrations": {
                    app: sorted(name for other, name in self.migrations if other == app)
                    for app in sorted({app for app, _ in self.migrations})
                },
                "tables": [asdict(each) for each in self.tables],
                "artifacts": [asdict(each) for each in self.artifacts],
                "secret_key": self.secret_key,
            },
            indent=1,
        ).encode()

    @staticmethod
    def from_json(raw: bytes) -> "Manifest":
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as wrong:
            raise Failed(f"{NAME} is damaged: {wrong}") from None
        release = _field(found, "release", str)
        number = _field(found, "format", int)
        if number != FORMAT:
            raise Failed(
                f"{NAME} says format {number}, written by release {release!r}; this release reads format {FORMAT}. "
                f"Restore with the release that wrote it."
            )
        migrations = _field(found, "migrations", dict)
        return Manifest(
            release=release,
            made_at=_field(found, "made_at", str),
            migrations=frozenset((app, name) for app in migrations for name in _strings(migrations[app])),
            tables=tuple(_table(each) for each in _field(found, "tables", list)),
            artifacts=tuple(
                ArtifactFile(_sha256(each), _field(each, "size", int)) for each in _field(found, "artifacts", list)
            ),
            secret_key=None if found.get("secret_key") is None else _sha256(found, "secret_key"),
        )


def _table(found: Any) -> TableRows:
    return TableRows(
        table=_field(found, "table", str),
        columns=_strings(_field(found, "columns", list)),
        rows=_field(found, "rows", int),
        size=_field(found, "size", int),
        sha256=_sha256(found),
    )


def _field(found: Any, name: str, kind: type[T]) -> T:
    value = found.get(name) if isinstance(found, dict) else None
    if type(value) is not kind:
        raise Failed(f"{NAME}: {name!r} is missing or is no {kind.__name__}")
    return value


def _sha256(found: Any, name: str = "sha256") -> str:
    value = _field(found, name, str)
    if not SHA256.fullmatch(value):
        raise Failed(f"{NAME}: {value[:80]!r} is no sha256")
    return value


def _strings(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Failed(f"{NAME}: {str(found)[:80]} is no list of names")
    return tuple(found)
