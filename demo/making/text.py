"""The demo's text: what ships with packages that everyone has, split by file into three parts."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

LANGUAGES = ("ar", "de", "el", "es", "fr", "he", "ja", "pl", "pt_BR", "ru", "tr", "zh_Hans")
Part = Literal["lm-training", "sae-training", "held-out"]
PARTS: tuple[Part, ...] = ("lm-training", "sae-training", "held-out")

LARGEST = 400_000  # characters: beyond are tables, of encodings and the like
SHINGLE = 8  # words
KEPT_SHINGLES = 8  # one in so many, by its hash, is remembered
MOST_KNOWN = 0.5  # a file with more of its shingles in files before it is a near-duplicate
PARAGRAPH_REPEATS = 3  # a long paragraph is kept so many times: licence headers would fill every list of examples
LONG_PARAGRAPH = 80  # characters


@dataclass(frozen=True)
class Source:
    name: str
    licence: str
    what: str
    folders: tuple[str, ...]  # within what is unpacked
    suffixes: tuple[str, ...]
    package: str = ""  # of the package index, with its version
    debian: str = ""  # a package of Debian
    without: tuple[str, ...] = ()  # folders that are left out


DJANGO, SPHINX, WAGTAIL = "Django==5.2.8", "Sphinx==9.0.4", "wagtail==8.0.1"
SOURCES = (
    Source(
        "python",
        "PSF-2.0",
        "the standard library of the Python that runs this",
        (".",),
        (".py",),
        without=("site-packages", "lib2to3", "pydoc_data", "encodings", "turtledemo", "idlelib", "ensurepip"),
    ),
    Source("python-docs", "PSF-2.0", "Python's documentation", ("usr",), (".rst.txt",), debian="python3.11-doc"),
    Source("django", "BSD-3-Clause", "Django's code", ("django",), (".py",), DJANGO),
    Source("django-docs", "BSD-3-Clause", "Django's documentation", ("docs",), (".txt",), DJANGO),
    Source("django-locale", "BSD-3-Clause", "Django's translations", ("django",), (".po",), DJANGO),
    Source("sphinx", "BSD-2-Clause", "Sphinx's code", ("sphinx",), (".py",), SPHINX),
    Source("sphinx-docs", "BSD-2-Clause", "Sphinx's documentation", ("doc",), (".rst",), SPHINX),
    Source("wagtail", "BSD-3-Clause", "Wagtail's code", ("wagtail",), (".py",), WAGTAIL),
    Source("wagtail-locale", "BSD-3-Clause", "Wagtail's translations", ("wagtail",), (".po",), WAGTAIL),
)


def make_text(work: Path, demo: Path) -> None:
    """The three parts as folders of files, under work/text, and sources.json, which says what came in."""
    out = work / "text"
    shutil.rmtree(out, ignore_errors=True)
    known, paragraphs = set[int](), Counter[int]()
    told = []
    for source in SOURCES:
        n_files, n_duplicates, characters = 0, 0, Counter[str]()
        for name, text in _read(source, _unpacked(source, work)):
            shingles = _shingles(text)
            if not shingles or len(shingles & known) > MOST_KNOWN * len(shingles):
                n_duplicates += 1
                continue
            known |= shingles
            text = _without_repeats(text, paragraphs)
            part = _part(source, name)
            path = out / part / source.name / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            n_files += 1
            characters[part] += len(text)
        told.append(asdict(source) | {"files": n_files, "duplicates": n_duplicates, "characters": dict(characters)})
        print(
            f"{source.name}: {n_files} files, {n_duplicates} near-duplicates or empty, {dict(characters)}", flush=True
        )
    (out / "sources.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def _part(source: Source, name: str) -> Part:
    """By the file's name alone. More of the translations is held out: there is little of them to show otherwise."""
    draw = int.from_bytes(hashlib.sha256(f"{source.name}/{name}".encode()).digest()[:4]) / 2**32
    held_out, sae_training = (0.18, 0.40) if source.suffixes == (".po",) else (0.052, 0.30)
    return "held-out" if draw < held_out else "sae-training" if draw < sae_training else "lm-training"


def _unpacked(source: Source, work: Path) -> Path:
    if source.package:
        return _unpacked_package(source.package, work)
    if source.debian:
        folder = work / "packages" / source.debian
        if not folder.exists():
            folder.mkdir(parents=True)
            subprocess.run(["apt-get", "download", source.debian], cwd=folder, check=True)
            (archive,) = folder.glob("*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        return folder
    return Path(sysconfig.get_path("stdlib"))


def _unpacked_package(package: str, work: Path) -> Path:
    folder = work / "packages" / package
    if not folder.exists():
        folder.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "--dest", folder, package], check=True)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    (inside,) = (each for each in folder.iterdir() if each.is_dir())
    return inside


def _read(source: Source, folder: Path) -> Iterator[tuple[str, str]]:
    """Names and texts, in an order that does not depend on the disk."""
    paths = {path for each in source.folders for path in (folder / each).rglob("*") if path.is_file()}
    for path in sorted(paths):
        relative = path.relative_to(folder)
        if not path.name.endswith(source.suffixes) or set(source.without) & set(relative.parts):
            continue
        if path.suffix == ".po" and not set(LANGUAGES) & set(relative.parts):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        text = _translated(text) if path.suffix == ".po" else text
        if 200 <= len(text) <= LARGEST:
            yield str(relative), text


def _translated(po: str) -> str:
    """The translations of a catalogue, a line each, without what they translate."""
    found, into = list[str](), False
    for line in po.splitlines():
        if match := re.match(r'msgstr(?:\[\d\])? "(.*)"$', line):
            found.append(match[1])
            into = True
        elif into and (match := re.match(r'"(.*)"$', line)):
            found[-1] += match[1]
        else:
            into = False
    unescaped = (each.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\") for each in found[1:])
    return "\n".join(each for each in unescaped if each)


def _shingles(text: str) -> set[int]:
    words = text.split() if " " in text.strip() else list(text)
    starts = range(max(len(words) - SHINGLE, 0) + 1)
    hashed = (_hash(" ".join(words[start : start + SHINGLE])) for start in starts)
    return {each for each in hashed if each % KEPT_SHINGLES == 0}


def _without_repeats(text: str, seen: Counter[int]) -> str:
    kept = []
    for paragraph in re.split(r"(?<=\n)\n+", text):
        key = _hash(paragraph)
        seen[key] += 1
        if len(paragraph) < LONG_PARAGRAPH or seen[key] <= PARAGRAPH_REPEATS:
            kept.append(paragraph)
    return "\n".join(kept)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
