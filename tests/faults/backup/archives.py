"""Backups rewritten: one thing is changed, the rest stays as it was."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Member = tuple[tarfile.TarInfo, bytes]
Change = Callable[[list[Member]], list[Member]]


def rewritten(source: Path, target: Path, change: Change) -> Path:
    with tarfile.open(source) as tar:
        members = [(info, file.read()) for info in tar if (file := tar.extractfile(info))]
    with tarfile.open(target, "w") as tar:
        for info, content in change(members):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target


def added(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return lambda members: [*members, (info, b"evil" if kind == tarfile.REGTYPE else b"")]


def without(name: str) -> Change:
    return lambda members: [member for member in members if member[0].name != name]


def changed(name: str, **attributes: Any) -> Change:
    def change(members: list[Member]) -> list[Member]:
        for info, _ in members:
            if info.name == name:
                for attribute, value in attributes.items():
                    setattr(info, attribute, value)
        return members

    return change


def changed_content(name: str, become: Callable[[bytes], bytes]) -> Change:
    return lambda members: [(info, become(content) if info.name == name else content) for info, content in members]


def flipped(name: str) -> Change:
    """One bit, in the middle."""

    def flip(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    return changed_content(name, flip)


def fewer_rows(content: bytes) -> bytes:
    rows = gzip.decompress(content).splitlines(keepends=True)
    return gzip.compress(b"".join(rows[:-1]))


def manifest(become: Callable[[bytes], bytes]) -> Change:
    return changed_content("manifest.json", become)


def edited(**fields: Any) -> Change:
    return manifest(lambda content: json.dumps(json.loads(content) | fields).encode())


def both(first: Change, second: Change) -> Change:
    return lambda members: second(first(members))


def hostile(known: dict[str, Any], evil: Path) -> dict[str, tuple[Change, str]]:
    """What is done to a good archive, and what is said to it."""
    artifact = known["artifacts"][0]
    jobs = next(table for table in known["tables"] if table["table"] == "explorer_job")
    users = "rows/auth_user.copy.gz"
    plain = "; a backup holds plain files alone"
    leads_out = ", a name that leads out of it"
    needs = (
        "The manifest lists 'auth.0012_alter_user_first_name_max_length' without 'auth.0011_update_proxy_permissions'"
    )
    newer = "Use the release that made them, or a later one."
    return {
        # Names and kinds of members
        "parent": (added("../evil"), f"it holds '../evil'{leads_out}"),
        "inner": (added("rows/../../evil"), f"it holds 'rows/../../evil'{leads_out}"),
        "absolute": (added(str(evil)), f"it holds {str(evil)!r}{leads_out}"),
        "backslash": (added("..\\evil"), f"it holds {'..' + chr(92) + 'evil'!r}{leads_out}"),
        "percent": (added("%2e%2e/evil"), "it holds '%2e%2e/evil', which is not in its manifest"),
        "stranger": (added("notes"), "it holds 'notes', which is not in its manifest"),
        "symlink": (added("link", tarfile.SYMTYPE, str(evil)), f"it holds 'link', a symbolic link{plain}"),
        "key-symlink": (
            changed("secret_key", type=tarfile.SYMTYPE, linkname="/etc/hostname"),
            f"it holds 'secret_key', a symbolic link{plain}",
        ),
        "hardlink": (added("link", tarfile.LNKTYPE, "manifest.json"), f"it holds 'link', a hard link{plain}"),
        "device": (added("device", tarfile.CHRTYPE), f"it holds 'device', a device{plain}"),
        "folder": (added("rows", tarfile.DIRTYPE), f"it holds 'rows', a folder{plain}"),
        "twice": (added(users), f"it holds '{users}' twice"),
        "lacking": (without(users), f"it lacks '{users}', which is in its manifest; it is cut short or damaged"),
        "headless": (without("manifest.json"), "it holds no manifest.json: it is cut short, damaged, or no backup"),
        # The manifest
        "no-json": (manifest(lambda _: b"{"), "manifest.json is damaged: Expecting property name"),
        "nested": (manifest(lambda _: b"[" * 100_000), "manifest.json is damaged: maximum recursion depth"),
        "empty": (manifest(lambda _: b"{}"), "manifest.json: 'release' is missing or is no str"),
        "format": (edited(format=99), "manifest.json says format 99, written by release "),
        "no-rows": (
            edited(tables=[known["tables"][0] | {"rows": "1"}]),
            "manifest.json: 'rows' is missing or is no int",
        ),
        "no-hash": (edited(artifacts=[{"sha256": "../evil", "size": 1}]), "manifest.json: '../evil' is no sha256"),
        "same-table": (
            edited(tables=[*known["tables"], jobs]),
            "its manifest.json lists 'rows/explorer_job.copy.gz' twice",
        ),
        "size": (
            edited(artifacts=[each | {"size": each["size"] + 1} for each in known["artifacts"]]),
            f"artifacts/{artifact['sha256']} is of {artifact['size']:,} bytes; "
            f"the manifest says {artifact['size'] + 1:,}",
        ),
        "unknown-app": (
            edited(migrations=known["migrations"] | {"future": ["0001_x"]}),
            f"The archive has migrations that this release does not know: 'future.0001_x'. {newer}",
        ),
        "unknown-migration": (
            edited(migrations=known["migrations"] | {"explorer": [*known["migrations"]["explorer"], "9999_x"]}),
            f"The archive has migrations that this release does not know: 'explorer.9999_x'. {newer}",
        ),
        "gap": (
            edited(
                migrations=known["migrations"]
                | {"auth": [name for name in known["migrations"]["auth"] if not name.startswith("0011")]}
            ),
            f"{needs}, which it needs",
        ),
        "no-migrations": (edited(migrations={}), "The manifest lists no migrations that make a table"),
        "evil-table": (
            both(
                edited(tables=[*known["tables"], jobs | {"table": 'x"; DROP TABLE auth_user'}]),
                added('rows/x"; DROP TABLE auth_user.copy.gz'),
            ),
            "The manifest lists a table 'x\"; DROP TABLE auth_user', which its migrations do not make",
        ),
        "evil-column": (
            edited(tables=[each | {"columns": [*each["columns"], "x) FROM"]} for each in known["tables"]]),
            "The manifest's columns of auth_group are not those of its migrations: 'x) FROM'",
        ),
        "key": (flipped("secret_key"), "secret_key is damaged: its bytes have another sha256"),
        # What the database and the store are given
        "rows": (flipped(users), f"{users}"),
        "cut-rows": (changed_content(users, lambda content: content[:-20]), f"{users} is damaged"),
        "no-gzip": (changed_content(users, lambda _: b"x" * 600), f"{users} is damaged: Not a gzipped file"),
        "other-rows": (changed_content(users, fewer_rows), f"{users} is damaged: its rows are not those"),
        "bomb": (
            changed_content(users, lambda _: gzip.compress(bytes(100_000_000))),
            f"{users} is damaged: more than its",
        ),
        "artifact": (
            flipped(f"artifacts/{artifact['sha256']}"),
            f"artifacts/{artifact['sha256']} is damaged: its bytes have another sha256",
        ),
    }
