"""Folders on the server that people may name, and nothing beside them (settings.ROOTS).

A path counts as what it leads to: links are followed before it is looked at. What lies outside is told apart neither
from what does not exist nor from what may not be read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.conf import settings

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(/[\w-][\w.@=+-]*)*", re.ASCII)
BARE = re.compile(r"[\w-][\w.-]*", re.ASCII)  # as the oldest lms are called: gpt2
LONGEST_ID = 200
MOST_OFFERED, DEEPEST_OFFERED = 500, 3  # folders of a root
TEXT = (".txt", ".md", ".jsonl", ".ndjson", ".gz", ".npy")
MOST_LOOKED_AT = 20_000  # files of a folder


class NotAllowed(Exception):
    """Why not, for whoever named it."""


def folder_or_hub_id(text: str, *, bare: bool = False) -> str:
    """An absolute path within a root, or an id of the hub as it is."""
    try:
        return path(text)
    except NotAllowed:
        looks_like_one = len(text) <= LONGEST_ID and (HUB_ID.fullmatch(text) or (bare and BARE.fullmatch(text)))
        here = (Path.cwd(), settings.BASE_DIR, *settings.ROOTS)
        # Whoever loads it takes a name for a path where there is one.
        if not looks_like_one or any(os.path.lexists(folder / text) for folder in here):
            raise
        return text


def path(text: str) -> str:
    """Within a root, absolute, links resolved."""
    if ".." in re.split(r"[/\\]", text):
        raise NotAllowed(f"{text}: name it without “..”.")
    for root in map(Path.resolve, settings.ROOTS):
        try:
            found = (root / text).resolve(strict=True)
        except (OSError, ValueError):  # not there, a circle of links, a name too long, NUL
            continue
        if found.is_relative_to(root):
            _refuse_links_out(found)
            return str(found)
    folders = ", ".join(map(str, settings.ROOTS))
    raise NotAllowed(f"{text}: there is nothing of that name in {folders}.")


def _refuse_links_out(found: Path) -> None:
    """Of a folder all is read, so nothing in it may lead out."""
    roots = [root.resolve() for root in settings.ROOTS]
    for link in _links(found):
        target = Path(os.path.realpath(link))
        if not any(target.is_relative_to(root) for root in roots):
            raise NotAllowed(f"{found}: {link.relative_to(found)} in it is a link that leads elsewhere.")


def _links(folder: Path) -> Iterator[Path]:
    entries = (
        Path(here, name) for here, folders, files in os.walk(folder, followlinks=False) for name in [*folders, *files]
    )
    for looked_at, entry in enumerate(islice(entries, MOST_LOOKED_AT + 1), start=1):
        if looked_at > MOST_LOOKED_AT:
            raise NotAllowed(f"{folder}: it holds more than {MOST_LOOKED_AT:,} files; name a folder within it.")
        if entry.is_symlink():
            yield entry


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in the roots, by what it looks like, to choose from."""

    lms: list[str]
    saes: list[str]
    text: list[str]


def found() -> Found:
    """Not deep and not long: whoever keeps more than that names it."""
    lms, saes, text = [], [], []
    for root in settings.ROOTS:
        for folder, names in islice(_folders(root), MOST_OFFERED):
            weights = any(name.endswith(".safetensors") for name in names)
            if weights and "config.json" in names and "tokenizer.json" in names:
                lms.append(str(folder))
            elif weights:
                saes.append(str(folder))
            elif "corpus.json" in names:
                text.append(str(folder))
            else:
                text += [str(folder / name) for name in names if name.endswith(TEXT)][:MOST_OFFERED]
    return Found(lms, saes, text)


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    for here, folders, files in os.walk(root):
        depth = len(Path(here).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and depth < DEEPEST_OFFERED)
        yield Path(here), sorted(files)
