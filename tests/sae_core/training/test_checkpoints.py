"""What is kept: whole or not there, nothing spoiled in it, and gone on from by nothing else than what wrote it."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.sae import Sae
from sae_core.train import Progress, Training, train_saes
from sae_core.training import checkpoints
from sae_core.training.checkpoints import ABOUT, PARTIAL, Checkpoint
from sae_core.training.config import CHECKPOINT, Sparsity, TrainConfig
from sae_core.training.sources import FileSource

ROWS, WIDTH, BATCH = 600, 8, 20
TOPK = TrainConfig(Family.TOPK, 24, k=3)
TRAINING = Training(tokens=900, batch_size=BATCH, buffer_tokens=200, log_every=1000, checkpoint_every=4)
PLACE = SaeConfig(Family.RELU, WIDTH, 1, hookpoint="blocks.1.hook_resid_post", lm="small", context_length=9)


class Broken(Exception):
    """What ends a training here."""


def acts(rows: int = ROWS, width: int = WIDTH) -> Any:
    return np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "acts.npy", acts())
    return tmp_path / "acts.npy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where checkpoints go; not there yet."""
    return tmp_path / "deep" / "training"


def train(path: Path, folder: Path | None, *configs: TrainConfig, sizes: Training = TRAINING, **others: Any) -> Sae:
    source = FileSource(path, rows_per_chunk=50)
    return train_saes(source, configs or [TOPK], sizes, folder=folder, **others)[-1]


def broken_off(path: Path, folder: Path, *configs: TrainConfig, step: int = 10, **others: Any) -> bytes:
    """What its checkpoint holds."""

    def on_progress(progress: Progress) -> None:
        if progress.step == step:
            raise Broken

    with pytest.raises(Broken):
        train(path, folder, *configs, sizes=replace(TRAINING, log_every=1), on_progress=on_progress, **others)
    return (folder / CHECKPOINT).read_bytes()


def whole(folder: Path) -> Checkpoint:
    """The checkpoint, of which every number is one, and beside which nothing lies."""
    assert [each.name for each in folder.iterdir()] == [CHECKPOINT]
    kept = checkpoints.read(folder)
    assert all(each.isfinite().all() for each in kept.tensors.values())
    return kept


# --- one file


def test_what_is_kept_is_read_as_it_was(folder: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3), "c": torch.empty(0, dtype=torch.int64)}
    made_with = {"k": 3, "rate": 0.1, "name": "ä", "prefixes": [1, 2], "none": None}
    assert checkpoints.at_step(folder) is None
    for step in (4, 8):
        checkpoints.write(folder, Checkpoint(step, made_with, tensors))
        found = checkpoints.read(folder)
        assert (found.step, found.made_with) == (step, made_with)
        assert found.tensors.keys() == tensors.keys()
        assert all(torch.equal(each, tensors[name]) for name, each in found.tensors.items())
        assert checkpoints.at_step(folder) == step
        assert [each.name for each in folder.iterdir()] == [CHECKPOINT]


def test_training_on_from_a_checkpoint_does_not_write_into_it(path: Path, folder: Path) -> None:
    """Its tensors may lie in the file itself."""
    before = broken_off(path, folder)
    train(path, folder, sizes=replace(TRAINING, checkpoint_every=0), resume=True)
    assert (folder / CHECKPOINT).read_bytes() == before


def test_half_of_one_is_swept_up(path: Path, folder: Path) -> None:
    """A training was killed while it wrote."""

    def leave_half() -> None:
        (folder / PARTIAL).mkdir(parents=True)
        (folder / PARTIAL / ".tmp1234").write_bytes(b"half")

    leave_half()
    broken_off(path, folder, step=5)
    whole(folder)
    leave_half()
    train(path, folder, sizes=replace(TRAINING, checkpoint_every=0), resume=True)
    whole(folder)
    (folder / CHECKPOINT).unlink()
    leave_half()
    train(path, folder, sizes=replace(TRAINING, checkpoint_every=0))
    assert list(folder.iterdir()) == []


FULL = """
import resource, sys, json
from pathlib import Path
from tests.sae_core.training.test_checkpoints import *

torch.set_num_threads(1)
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
said, held = [], []

def limit(progress=None):
    if progress is None or progress.step == 10:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        held.extend(folder.iterdir() if folder.exists() else [])

for on_progress in (None, limit):
    if on_progress is None:
        limit()
    try:
        train(path, folder, sizes=replace(TRAINING, log_every=1), on_progress=on_progress)
    except BadInput as error:
        said.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    said.append(sorted(each.name for each in folder.iterdir()))
print(json.dumps(said))
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_checkpoint_before(path: Path, folder: Path, tmp_path: Path) -> None:
    """By a real limit on what a process may write: at its first checkpoint, then at its third."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(folder)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, none, third, one = json.loads(done.stdout)
    file = folder / CHECKPOINT
    assert first.startswith(f"{file}: cannot be written (")
    assert "File too large" in first
    assert first.endswith("; there is none before it. Is the disk full?")
    assert none == []
    assert third.startswith(f"{file}: cannot be written (")
    assert third.endswith(f"; the checkpoint before it is whole ({file}). Is the disk full?")
    assert one == [CHECKPOINT]
    assert checkpoints.at_step(folder) == 8
    again = folder.parent / "again"
    assert file.read_bytes() == broken_off(path, again)
    straight = train(path, None)
    assert torch.equal(train(path, folder, resume=True).W_dec, straight.W_dec)


def test_a_folder_that_cannot_be_made_is_named(path: Path) -> None:
    with pytest.raises(BadInput, match=r"acts\.npy/within/checkpoint\.safetensors: cannot be written .*none before it"):
        train(path, path / "within")


# --- nothing spoiled


def late_rows(path: Path) -> slice:
    """The rows that the first reading ends with."""
    source = FileSource(path, rows_per_chunk=50)
    start = int(source.where(ROWS // 50 - 1).split()[1])
    return slice(start, start + 50)


def spoil(path: Path, value: float) -> slice:
    array, rows = acts(), late_rows(path)
    array[rows.start + 7 : rows.stop : 2] = value
    np.save(path, array)
    return rows


def test_nan_in_a_file_is_named_and_once_mended_the_training_goes_on(path: Path, folder: Path) -> None:
    straight = train(path, None)
    rows = spoil(path, float("nan"))
    says = rf"acts\.npy: rows {rows.start} to {rows.stop - 1} hold NaN in 22 of 50 rows, row {rows.start + 7} the first"
    with pytest.raises(BadInput, match=says):
        train(path, folder)
    kept = whole(folder)
    assert 8 <= kept.step < 30
    with pytest.raises(BadInput, match=says):
        train(path, folder, resume=True)
    assert whole(folder).step == kept.step
    np.save(path, acts())
    resumed = train(path, folder, resume=True)
    assert all(torch.equal(each, straight.tensors()[name]) for name, each in resumed.tensors().items())


@pytest.mark.parametrize("log_every", [1, 1000])
def test_a_loss_that_is_no_number_is_refused_at_its_step(path: Path, folder: Path, log_every: int) -> None:
    """The file's numbers are numbers; their squares are none."""
    spoil(path, 1e25)
    looked_at = list[int]()
    sizes = replace(TRAINING, log_every=log_every, checkpoint_every=1)
    with pytest.raises(BadInput) as refused:
        train(path, folder, replace(TOPK, seed=1), TOPK, sizes=sizes, on_progress=lambda p: looked_at.append(p.step))
    kept = whole(folder)
    assert kept.step > 8
    said = str(refused.value)
    assert said.startswith(f"step {kept.step + 1}, SAE 1 of 2 (topk, 24 latents): the loss is not a finite number, the")
    assert f"; the last checkpoint, of step {kept.step}, is kept. Is the learning rate, 0.0003, too high?" in said
    assert "up to chunk " in said
    assert looked_at == (list(range(1, kept.step + 1)) if log_every == 1 else [])
    assert max(each.abs().max() for name, each in kept.tensors.items() if ".weights." in name) < 100


def test_moments_that_are_no_numbers_are_refused_though_the_loss_is_one(path: Path, folder: Path) -> None:
    """Gradients of 1e36 have no square: Adam would never again move what had one, and say nothing."""
    spoil(path, 1e18)
    config = TrainConfig(Family.JUMPRELU, 24)
    says = r"^step \d+, SAE 1 of 1 \(jumprelu, 24 latents\): optimiser\.\w+\.exp_avg_sq has grown beyond bounds, the so"
    with pytest.raises(BadInput, match=says):
        train(path, folder, config, sizes=replace(TRAINING, checkpoint_every=1))
    whole(folder)
    with pytest.raises(BadInput, match=r"exp_avg_sq has grown beyond bounds, .*; no checkpoint was written"):
        train(path, None, config, sizes=replace(TRAINING, checkpoint_every=0))


FAMILIES: list[dict[str, Any]] = [
    {"family": "relu", "target_l0": 3.0},
    {"family": "relu", "sparsity": "plain"},
    {"family": "topk", "k": 3},
    {"family": "batchtopk", "k": 3},
    {"family": "matryoshka", "k": 3},
    {"family": "jumprelu"},
    {"family": "gated"},
]


@pytest.mark.parametrize("given", FAMILIES)
@pytest.mark.parametrize(("rate", "steps"), [(1e30, 45), (1e30, 1), (1e10, 45)])
def test_a_learning_rate_that_ruins_an_sae_leaves_no_checkpoint_of_it(
    path: Path, folder: Path, given: dict[str, Any], rate: float, steps: int
) -> None:
    """Also of one step, whose loss was still that of good weights."""
    ruined = TrainConfig(n_latents=24, learning_rate=rate, warmup=0.0, decay=0.0, **given)
    for checkpoint_every in (0, 1):
        sizes = replace(TRAINING, tokens=steps * BATCH, checkpoint_every=checkpoint_every)
        with pytest.raises(BadInput) as refused:
            train(path, folder, TOPK, ruined, sizes=sizes)
        assert f", SAE 2 of 2 ({ruined.family}, 24 latents): " in str(refused.value)
        assert str(refused.value).endswith(f"; no checkpoint was written. Is the learning rate, {rate:g}, too high?")
        assert not (folder / CHECKPOINT).exists()


def test_latents_are_not_drawn_anew_from_what_a_ruined_sae_errs(path: Path) -> None:
    config = TrainConfig(
        Family.RELU, 24, learning_rate=1e12, sparsity=Sparsity.PLAIN, target_l0=0.05, warmup=0.0,
        resample_at=(1 / 45,), resample_window=0.001,
    )  # fmt: skip
    with pytest.raises(
        BadInput, match=r"^step 1, SAE 1 of 1 \(relu, 24 latents\): weights\.\w+ has grown beyond bounds"
    ):
        train(path, None, config)


# --- gone on from by what wrote it


def test_a_folder_that_holds_a_training_is_not_begun_in_anew(path: Path, folder: Path) -> None:
    before = broken_off(path, folder)
    with pytest.raises(BadInput, match=r"training: holds a training that came to step 8; go on with it \(resume\), or"):
        train(path, folder)
    assert (folder / CHECKPOINT).read_bytes() == before


def test_there_is_nothing_to_go_on_with(path: Path, folder: Path) -> None:
    with pytest.raises(
        BadInput, match=r"checkpoint\.safetensors: missing; there is no training in .*training to go on"
    ):
        train(path, folder, resume=True)
    with pytest.raises(BadInput, match="name the folder that its checkpoint lies in"):
        train(path, None, resume=True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"configs": [TOPK]}, "the number of SAEs was 2 and is 1 here; go on with what it was begun with, or begin"),
        ({"configs": [TOPK, replace(TOPK, seed=1, k=4)]}, "SAE 2's k was 3 and is 4 here"),
        ({"configs": [replace(TOPK, learning_rate=0.1), TOPK]}, "SAE 1's learning_rate was 0.0003 and is 0.1 here"),
        (
            {"configs": [replace(TOPK, family=Family.BATCHTOPK), TOPK]},
            "SAE 1's family was 'topk' and is 'batchtopk' here",
        ),
        ({"sizes": replace(TRAINING, batch_size=25)}, "the training's batch_size was 20 and is 25 here"),
        ({"sizes": replace(TRAINING, tokens=800)}, "the training's tokens was 900 and is 800 here"),
        ({"sizes": replace(TRAINING, buffer_tokens=None)}, "the training's buffer_tokens was 200 and is None here"),
        ({"sizes": replace(TRAINING, seed=1)}, "the training's seed was 0 and is 1 here"),
        ({"where": replace(PLACE, hookpoint="ln_final")}, "hookpoint was 'blocks.1.hook_resid_post' and is 'ln_final'"),
        ({"where": replace(PLACE, lm="other")}, "the lm was 'small' and is 'other' here"),
        ({"where": None}, "the hookpoint was 'blocks.1.hook_resid_post' and is None here"),
        ({"rows": 599}, "the source's n_tokens was 600 and is 599 here"),
        ({"width": 9}, "the source's d_in was 8 and is 9 here"),
        ({"rows_per_chunk": 60}, "not whole, or of another source: .* largest_chunk was 50 and is 60 here"),
    ],
)
def test_other_settings_than_it_was_begun_with_are_refused(
    path: Path, folder: Path, changes: dict[str, Any], says: str
) -> None:
    configs = [TOPK, replace(TOPK, seed=1)]
    before = broken_off(path, folder, *configs, where=PLACE)
    np.save(path, acts(changes.get("rows", ROWS), changes.get("width", WIDTH)))
    source = FileSource(path, rows_per_chunk=changes.get("rows_per_chunk", 50))
    given = {"configs": configs, "training": changes.get("sizes", TRAINING), "where": PLACE}
    given |= {name: changes[name] for name in ("configs", "where") if name in changes}
    with pytest.raises(BadInput, match=says):
        train_saes(source, folder=folder, resume=True, **given)
    assert (folder / CHECKPOINT).read_bytes() == before


def rewritten(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    with safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()[ABOUT])
    change(about)
    tensors = {name: each.clone() for name, each in load_file(file).items()}
    save_file(tensors, file, metadata={ABOUT: json.dumps(about)})


def resaved(file: Path, metadata: dict[str, str] | None) -> None:
    save_file({name: each.clone() for name, each in load_file(file).items()}, file, metadata=metadata)


def without(file: Path, tensor: str) -> None:
    kept = checkpoints.read(file.parent)
    tensors = {name: each.clone() for name, each in kept.tensors.items() if name != tensor}
    checkpoints.write(file.parent, kept._replace(tensors=tensors))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda file: file.write_bytes(file.read_bytes()[:-1]),
            "not a checkpoint of a training, or not whole: .*; rem",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "not a checkpoint of a training, or not whole"),
        (lambda file: file.write_bytes(b""), "not a checkpoint of a training, or not whole"),
        (lambda file: file.write_bytes(b"no tensors" * 50), "not a checkpoint of a training, or not whole"),
        (lambda file: resaved(file, None), "or not whole: its metadata is none of ours; remove it and begin anew"),
        (lambda file: resaved(file, {"format": "pt"}), "its metadata is none of ours"),
        (lambda file: resaved(file, {ABOUT: "[1]"}), "its metadata is none of ours"),
        (lambda file: resaved(file, {ABOUT: "{"}), "not a checkpoint of a training, or not whole"),
        (lambda file: rewritten(file, lambda about: about.pop("step")), "its metadata is none of ours"),
        (lambda file: rewritten(file, lambda about: about.update(step="8")), "its metadata is none of ours"),
        (
            lambda file: rewritten(file, lambda about: about.update(version=2)),
            "version 2, this release reads 1; begin ",
        ),
    ],
)
def test_a_damaged_checkpoint_is_named_whether_it_is_gone_on_with_or_not(
    path: Path, folder: Path, damage: Callable[[Path], Any], says: str
) -> None:
    file = folder / CHECKPOINT
    broken_off(path, folder)
    damage(file)
    before = hashlib.sha256(file.read_bytes()).digest()
    for resume in (True, False):
        with pytest.raises(BadInput, match=says) as refused:
            train(path, folder, resume=resume)
        assert str(refused.value).startswith(f"{file}: ")
    assert hashlib.sha256(file.read_bytes()).digest() == before


@pytest.mark.parametrize("tensor", ["buffer.queue", "saes.0.weights.W_dec", "saes.0.silent"])
def test_a_checkpoint_that_lacks_a_tensor_is_refused(path: Path, folder: Path, tensor: str) -> None:
    broken_off(path, folder)
    without(folder / CHECKPOINT, tensor)
    with pytest.raises(BadInput, match=rf"checkpoint\.safetensors: not whole, or of another source: .*{tensor[-5:]}"):
        train(path, folder, resume=True)
