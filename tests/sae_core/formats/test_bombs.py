"""Bombs are stopped at the cap, lies at the header, and no pickle is executed."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_core.formats import load_sae
from tests.sae_core.formats import written
from tests.sae_core.formats.refusing import peak_of_a_refusal, refused


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('exploited').touch()",))


@pytest.mark.parametrize("name", ["8.pt", "ae.pt"])
def test_a_pickle_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "ae.pt":
        written.dictionary_learning(tmp_path, "AutoEncoder")
    torch.save({"encoder.weight": Exploit()}, tmp_path / name)
    refused(tmp_path / name, name, "nothing else is loaded from it")
    (tmp_path / name).write_bytes(pickle.dumps(Exploit()))  # as torch wrote before its zip files
    refused(tmp_path / name, name)
    assert not (tmp_path / "exploited").exists()


def test_numpy_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "params.npz", W_enc=np.array([Exploit()], dtype=object), b_enc=np.zeros(3))
    refused(tmp_path, "params.npz", "W_enc", "object")


def test_a_zip_bomb_is_stopped_at_the_cap(tmp_path: Path) -> None:
    """Half a gigabyte of zeros in half a megabyte."""
    path = tmp_path / "params.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("W_enc.npy", "w", force_zip64=True) as out,
    ):
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (2048, 65536)})
        for _ in range(512):
            out.write(bytes(1 << 20))
    megabytes, message = peak_of_a_refusal(path)
    assert f"{path}: its " in message
    assert "expand to 536,871,040" in message
    assert megabytes < 200


def test_a_compressed_pt_is_refused(tmp_path: Path) -> None:
    """torch stores its tensors as they are; one that is compressed expands into more than the file."""
    file = written.openai(tmp_path, "ReLU").path
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data + bytes(100_000))
    refused(file, "expand to")


def test_a_view_that_claims_more_than_its_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "8.pt"
    torch.save({"encoder.weight": torch.zeros(1).expand(100_000, 100_000), "pre_bias": torch.zeros(3)}, path)
    refused(path, "encoder.weight claims (100000, 100000) of 4 bytes")


def test_an_array_that_claims_more_than_its_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("W_enc.npy", "w") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (8192, 65536)})
    refused(path, "W_enc claims 2,147,483,648 bytes")


def test_older_torch_reads_no_pt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written.openai(tmp_path, "ReLU").path
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    refused(file, str(file), "torch 2.10 or later, this is 2.9.1")
    monkeypatch.setattr(torch, "__version__", "2.10.0+cpu")
    assert load_sae(file).d_in == written.D
