"""The browser's page apart from its rows: what its columns are headed by, and what filters it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.http import QueryDict

from explorer.forms.browser import COLUMNS, TITLES, BrowserForm
from explorer.numbers import significant
from explorer.queries.browsing import Asked
from explorer.queries.filtering import OF_WEIGHTS, RISING, Sort

PLACES = ("after", "before", "at")
BESIDE = ("sort", "dir", "fires", "labelled")  # chosen elsewhere than among the fields
NUMERIC = {"index", "n_fired", *TITLES}
WITHOUT_TEXT = {"label", "score", "decoder_norm", "encoder_cosine"}
PRESETS: tuple[tuple[str, dict[str, str]], ...] = (
    ("All", {}), ("Fire", {"fires": "yes"}), ("Never fired", {"fires": "never"}), ("Ultra-low", {"fires": "ultra-low"}),
    ("Dense", {"fires": "dense"}), ("Labelled", {"labelled": "yes"}), ("Unlabelled", {"labelled": "no"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    title: str
    numeric: bool
    sortable: bool
    sorted: str
    next_dir: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force, and the address without it."""

    says: str
    href: str


@dataclass(frozen=True, slots=True)
class Preset:
    title: str
    href: str
    chosen: bool


def columns(asked: Asked, chosen: Collection[str]) -> dict[str, bool]:
    """Those that are shown: the chosen ones and what rows are sorted by, as far as there is anything to show."""
    wanted = {*chosen, asked.filters.sort.value}
    return {name: True for name in COLUMNS if name in wanted and (asked.collection or name in WITHOUT_TEXT)}


def headers(asked: Asked, shown: Collection[str]) -> list[Header]:
    sortable = {each.value for each in (Sort if asked.collection else OF_WEIGHTS)}
    return [_header(asked, name, name in sortable) for name in ("index", *shown)]


def _header(asked: Asked, name: str, sortable: bool) -> Header:
    falling = asked.filters.descending
    here = sortable and asked.filters.sort == name
    direction = ("descending" if falling else "ascending") if here else "none"
    follows = ("asc" if falling else "desc") if here else ("asc" if name in RISING else "desc")
    return Header(name, COLUMNS.get(name, "Index"), name in NUMERIC, sortable, direction, follows)


def presets(data: QueryDict, asked: Asked) -> list[Preset]:
    """Without text only labels tell features apart."""
    return [
        Preset(
            title,
            without(data, ("fires", "labelled"), **given),
            all(data.get(name, "") == given.get(name, "") for name in ("fires", "labelled")),
        )
        for title, given in PRESETS
        if asked.collection or "fires" not in given
    ]


def chips(form: BrowserForm, data: QueryDict) -> list[Chip]:
    given = form.cleaned_data
    found = []
    if given.get("fires"):
        found.append(Chip(_FIRES[given["fires"]], without(data, ["fires"])))
    if given.get("labelled"):
        found.append(Chip("Labelled" if given["labelled"] == "yes" else "Without a label", without(data, ["labelled"])))
    for name, title in TITLES.items():
        ends = (given.get(f"{name}_min"), given.get(f"{name}_max"))
        if ends != (None, None):
            found.append(Chip(f"{title} {_between(*ends)}", without(data, (f"{name}_min", f"{name}_max"))))
    if given.get("words"):
        found.append(Chip(f"Label: {' '.join(given['words'])}", without(data, ["words"])))
    if given.get("token") is not None:
        found.append(Chip(f"Raises “{data['token']}” most", without(data, ["token"])))
    if given.get("list"):
        found.append(Chip(f"In the list {given['list'].name}", without(data, ["list"])))
    return found


def elsewhere(form: BrowserForm) -> list[str]:
    """What is wrong with values that have no field to be named at."""
    messages = [
        f"{name}: {message} It was left out." for name in (*BESIDE, "columns") for message in form.errors.get(name, [])
    ]
    places = [f"{name}: there is no such place; this is the first page." for name in PLACES if name in form.errors]
    return messages + places


def without(data: QueryDict, names: Iterable[str] = (), **instead: str) -> str:
    """The address's query without these, and from the first page on."""
    changed = data.copy()
    for name in (*PLACES, *names):
        changed.pop(name, None)
    for name, value in instead.items():
        changed[name] = value
    return f"?{changed.urlencode()}" if changed else ""


_FIRES = {"yes": "Fires", "never": "Never fired", "ultra-low": "Ultra-low", "dense": "Dense"}


def _between(least: float | None, most: float | None) -> str:
    if least is None:
        return f"≤ {_short(most)}"
    return f"≥ {_short(least)}" if most is None else f"{_short(least)} to {_short(most)}"


def _short(number: float | None) -> str:
    return str(number) if isinstance(number, int) else significant(number)
