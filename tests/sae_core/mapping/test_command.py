"""`python -m sae_core map`, by t-SNE, which needs nothing compiled."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_core.__main__ import main
from sae_core.array_files import ArrayFile, write_arrays
from sae_core.config import Family
from sae_core.formats import save_sae
from sae_core.maps import MapConfig, Method, make_map
from sae_core.sae import Sae
from tests.sae_core.mapping.drawn import nearest
from tests.sae_core.random_saes import make

SMALL, LARGE = (make(Family.RELU, n_latents=n) for n in (20, 45))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    save_sae(SMALL, folder / "small")
    save_sae(LARGE, folder / "large")
    evidence(folder / "small.safetensors", SMALL, np.ones(20, np.int64))
    evidence(folder / "large.safetensors", LARGE, np.arange(45) % 9)
    return folder


def evidence(path: Path, sae: Sae, n_fired: NDArray[np.int64]) -> None:
    indices, values = nearest(sae.W_dec, 16)
    arrays = {"neighbour": indices.astype(np.int32), "neighbour_cosine": values.astype(np.float32)}
    write_arrays(path, arrays | {"n_fired": n_fired}, {"kind": "evidence"})


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path, *arguments: object) -> Any:
    monkeypatch.chdir(place)
    assert main(["map", "--method", "tsne", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_of_one_sae(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--perplexity", 3, "--seed", 5)
    given = ("--sae", "large", "--evidence", "large.safetensors", "--out", tmp_path / "map")
    said = run(capsys, monkeypatch, place, *given, *settings)
    alive = np.arange(45) % 9 > 0
    expected = make_map([LARGE.W_dec], MapConfig(Method.TSNE, perplexity=3, seed=5), alive=[alive])
    file = ArrayFile(tmp_path / "map" / "map.safetensors")
    assert file.names == {"rows", "places", "neighbours", "cosines", "parents", "clusters"}
    for name in file.names - {"cosines", "places"}:
        np.testing.assert_array_equal(file[name], getattr(expected, name))
        assert file[name].dtype == getattr(expected, name).dtype
    np.testing.assert_allclose(file["cosines"], expected.cosines, atol=1e-6)
    assert file["places"].shape == (40, 2)
    assert said.pop("out") == str(tmp_path / "map" / "map.safetensors")
    assert said == file.about
    assert (said["perplexity"], said["seed"], said["saes"], said["kind"]) == (3, 5, ["large"], "map")
    assert said["left_out"] == {"silent": 5, "without_direction": 0}
    assert said["clusters"] == [int(grain.max()) + 1 for grain in expected.clusters]
    assert said["unclustered"] == (expected.clusters < 0).sum(1).tolist()
    assert (said["trustworthiness"], said["trusted_on"]) == (pytest.approx(expected.trustworthiness, abs=0.05), 40)


def test_of_two(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("--sae", "large", "small", "--perplexity", 3, "--out", tmp_path)
    said = run(capsys, monkeypatch, place, *both)
    assert said["points"] == 65
    assert (ArrayFile(tmp_path / "map.safetensors")["parents"] >= 0).sum() == 45
    said = run(capsys, monkeypatch, place, *both, "--evidence", "large.safetensors", "small.safetensors")
    assert said["points"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--neighbours", "1"], "neighbours is 1"),
        (["--min-dist", "2"], "min_dist is 2.0"),
        (
            ["--evidence", "small.safetensors", "large.safetensors"],
            "2 files of evidence for 1 SAEs, expected one for each",
        ),
        (["--evidence", "small.safetensors"], "SAE 1 has 45 latents, and of 20 it is said whether they fire"),
        (["--evidence", "missing"], "missing: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(place)
    assert main(["map", "--sae", "large", "--out", str(tmp_path / "out"), *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err.splitlines()[-1]
    assert said.out == ""
    assert not (tmp_path / "out").exists()
