"""Making a map of an SAE's features, or of several of one hookpoint together.

Arguments: `saes`, their ids; `method`, `neighbours`, `min_dist`, `perplexity`, `seed`: sae_core.maps.MapConfig;
`if_possible`, where nobody has asked for it: that there is too little to lay out is no failure.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer import artifacts
from explorer.actions import editions
from explorer.models import Collection, FeatureMap, MapPart, Sae
from explorer.queries import library, maps
from explorer.work.attempt import Attempt, Refused, Removed
from explorer.work.loading import new_artifacts
from explorer.work.mapping.clusters import clusters
from explorer.work.mapping.columns import Part, columns, evidence_of
from explorer.work.mapping.legends import legends
from explorer.work.mapping.tiles import tile_file
from explorer.work.opening import refusing, sae_alone, scratch
from sae_core import ArrayFile, BadInput
from sae_core.array_files import write_arrays
from sae_core.maps import LaidOut, MapConfig, Method, Table, make_map

OF_METHOD = {Method.UMAP: ("neighbours", "min_dist"), Method.TSNE: ("perplexity",)}
MOST_PARTS = 11  # SAEs on one map: as many as there are colours to tell them apart


def run(attempt: Attempt) -> dict[str, Any]:
    with refusing():
        parts = [part_of(sae) for sae in _saes(attempt.arguments["saes"])]
        config = _config(attempt.arguments)
        known = maps.made_before(asdict(config), [(part.sae, part.collection) for part in parts])
        try:
            return {"map": (known or keep(attempt, parts, config, _lay_out(attempt, parts, config))).pk}
        except BadInput as why:
            if not attempt.arguments.get("if_possible"):
                raise
            attempt.emit(f"There is no map: {why}\n")
            return {"map": None}


def _lay_out(attempt: Attempt, parts: Sequence[Part], config: MapConfig) -> LaidOut:
    attempt.report(done=0, total=0, unit="", message="Reading the directions")
    return make_map(
        [sae_alone(part.sae).W_dec for part in parts],
        config,
        alive=[part.alive for part in parts],
        known=_known(parts),
        on_step=lambda done, total, what: attempt.report(done=done, total=total, unit="steps", message=what),
    )


def keep(attempt: Attempt, parts: Sequence[Part], config: MapConfig, laid: LaidOut) -> FeatureMap:
    attempt.report(done=0, total=0, unit="", message="Writing its tiles")
    laid_columns = columns(laid, parts)
    bars = legends(laid_columns)
    with scratch() as folder, new_artifacts() as put:
        points, tiles = folder / "points", folder / "tiles"
        write_arrays(points, laid_columns, laid.about)
        tiles.write_bytes(tile_file(laid_columns, bars))
        name = "-and-".join(part.sae.slug for part in parts)[:100]
        named = put(points, f"{name}.map.safetensors"), put(tiles, f"{name}.tiles")
        with attempt.transaction():
            collections = _still_there(parts)
            made = FeatureMap.objects.create(
                asked=asdict(config),
                about=about(laid),
                clusters=clusters(laid_columns),
                legends={name: legend.bars for name, legend in bars.items()},
                n_points=len(laid.rows),
                points_id=named[0],
                tiles_id=named[1],
                created_by=attempt.job.created_by,
            )
            MapPart.objects.bulk_create(_rows(made, parts, laid_columns["part"], collections))
            for part in parts:
                editions.of(part.sae.pk)
    return made


def about(laid: LaidOut) -> dict[str, Any]:
    unclustered = [int((grain < 0).sum()) for grain in laid.clusters]
    trusted = {"trustworthiness": laid.trustworthiness, "trusted_on": laid.trusted_on}
    return {**laid.about, **trusted, "unclustered": unclustered}


def _rows(made: FeatureMap, parts: Sequence[Part], whose: NDArray[np.uint8], collections: set[int]) -> list[MapPart]:
    points = np.bincount(whose, minlength=len(parts)).tolist()
    return [
        MapPart(
            map=made,
            number=number,
            sae=part.sae,
            collection=part.collection if part.collection and part.collection.pk in collections else None,
            n_points=points[number],
            n_silent=0 if part.alive is None else int((~part.alive).sum()),
        )
        for number, part in enumerate(parts)
    ]


def _saes(ids: Sequence[int]) -> list[Sae]:
    """In that order, each with its newest collection; somebody may have taken one away since."""
    known = {sae.pk: sae for sae in library.saes_of(ids)}
    if missing := [pk for pk in ids if pk not in known]:
        raise Removed(f"{'An SAE' if len(missing) == 1 else 'SAEs'} that this was about has been removed.")
    saes = [known[pk] for pk in dict.fromkeys(ids)]
    if len(saes) > MOST_PARTS:
        raise Refused(f"A map shows at most {MOST_PARTS} SAEs; {len(saes)} were asked for.")
    if len({(sae.lm_id, sae.hookpoint_out or sae.hookpoint) for sae in saes}) > 1:
        raise Refused(
            "These SAEs do not all write at one hookpoint of one lm, so their directions have nothing in common."
        )
    return saes


def part_of(sae: Sae) -> Part:
    collection = library.newest(sae)
    if collection is None:
        return Part(sae, None, None)
    return Part(sae, collection, evidence_of(ArrayFile(artifacts.path(collection.evidence_id))))


def _config(arguments: dict[str, Any]) -> MapConfig:
    """What a method makes no use of is as usual: it makes no other map."""
    names = ("method", "neighbours", "min_dist", "perplexity", "seed")
    asked = MapConfig(**{name: arguments[name] for name in names if name in arguments})
    used = {name: getattr(asked, name) for name in OF_METHOD[asked.method]}
    return MapConfig(method=asked.method, seed=asked.seed, **used)


def _known(parts: Sequence[Part]) -> Table | None:
    """The nearest that the pass has found already, of one SAE."""
    if len(parts) > 1 or parts[0].evidence is None:
        return None
    file = parts[0].evidence
    return Table(file["neighbour"], file["neighbour_cosine"])


def _still_there(parts: Sequence[Part]) -> set[int]:
    """Whoever removes an SAE waits for this, or has been before it. The collections that are still those."""
    pks = [part.sae.pk for part in parts]
    there = Sae.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
    if len(there) < len(pks):
        raise Removed("An SAE that this map was to show has been removed meanwhile.")
    return set(Collection.objects.select_for_update(no_key=True).filter(sae__in=pks).values_list("pk", flat=True))
