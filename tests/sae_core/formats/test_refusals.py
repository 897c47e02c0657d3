"""What is wrong with a file is said before anything is computed: which file, which tensor, expected, found."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sae_core import tensor_files
from sae_core.config import Family
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.formats import load_sae, save_sae
from tests.sae_core.formats import written
from tests.sae_core.formats.refusing import peak_of_a_refusal, refused
from tests.sae_core.random_saes import make


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return save_sae(make(Family.JUMPRELU), tmp_path / "sae")


def weights(folder: Path) -> Path:
    return folder / "sae.safetensors"


def rewrite_header(path: Path, change: Callable[[str], str]) -> None:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = change(raw[8 : 8 + length].decode()).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])


# Fault 11: damaged safetensors


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_truncated(ours: Path, left: int) -> None:
    raw = weights(ours).read_bytes()
    weights(ours).write_bytes(raw[:left])
    refused(ours, str(weights(ours)), f"{len(raw[:left]):,} bytes" if left < 0 else "bytes")


def test_longer_than_its_header_says(ours: Path) -> None:
    with weights(ours).open("ab") as file:
        file.write(b"more")
    refused(ours, str(weights(ours)), "expected")


def test_a_bit_flipped_in_the_weights(ours: Path) -> None:
    """Ours know their hash; a foreign file has none, and shows only what is no longer finite."""
    raw = bytearray(weights(ours).read_bytes())
    raw[-3] ^= 1
    weights(ours).write_bytes(raw)
    refused(ours, str(weights(ours)), "sha256")


def test_every_bit_of_the_header(tmp_path: Path) -> None:
    """Flipped one at a time: refused by name, or the same SAE in another spelling; never anything else."""
    file = written.saelens(tmp_path)
    path = file.path / "sae_weights.safetensors"
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    x = written.draw(1, 3, written.D)
    expected = load_sae(file.path)(x)
    refusals = []
    for bit in range(0, 8 * (8 + length), 3):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert torch.equal(load_sae(file.path)(x), expected)
        except BadInput as error:
            refusals.append(str(error))
    assert all(str(file.path) in each for each in refusals)
    assert len(refusals) > 0.8 * 8 * (8 + length) / 3


def test_duplicate_names(ours: Path) -> None:
    rewrite_header(weights(ours), lambda text: re.sub(r'("b_dec":\{[^}]*\})', r"\1,\1", text))
    refused(ours, str(weights(ours)), "'b_dec' comes twice")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [6], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]},
        {"dtype": "F33", "shape": [6], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [6]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 24]},
        "text",
    ],
)
def test_entries_that_lie(tmp_path: Path, entry: object) -> None:
    file = written.saelens(tmp_path)
    header = json.dumps({"b_dec": entry}).encode()
    path = file.path / "sae_weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 24)
    refused(file.path, str(path), "b_dec")


def test_a_huge_header_takes_no_memory(tmp_path: Path) -> None:
    file = written.saelens(tmp_path)
    path = file.path / "sae_weights.safetensors"
    with path.open("wb") as out:  # 600 MB, sparse on disk
        out.write(struct.pack("<Q", 600_000_000) + b"{")
        out.truncate(600_000_100)
    megabytes, message = peak_of_a_refusal(file.path)
    assert str(path) in message
    assert "600,000,000 bytes" in message
    assert megabytes < 200


def test_a_wrong_shape_is_seen_before_the_weights_are_read(tmp_path: Path) -> None:
    """1 GB of W_enc, transposed."""
    cfg = {"architecture": "standard", "d_in": 4096, "d_sae": 65536, "dtype": "float32"}
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    shapes = {"W_dec": [65536, 4096], "W_enc": [65536, 4096], "b_dec": [4096], "b_enc": [65536]}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    path = tmp_path / "sae_weights.safetensors"
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw)
        out.truncate(8 + len(raw) + end)
    megabytes, message = peak_of_a_refusal(tmp_path)
    assert f"{path}: W_enc is (65536, 4096), expected (4096, 65536); is it transposed?" in message
    assert megabytes < 200


# Fault 12: numbers that are none


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite(tmp_path: Path, value: float) -> None:
    sae = make(Family.RELU)
    tensors = {name: each.clone() for name, each in sae.tensors().items()}
    tensors["W_dec"][7, 2] = value
    folder = save_sae(type(sae)(sae.config, tensors), tmp_path / "sae")
    refused(folder, f"{weights(folder)}: W_dec[7, 2] is {value} (1 such values)")


def test_a_row_of_zeros_is_warned_of(tmp_path: Path) -> None:
    sae = make(Family.RELU)
    tensors = {name: each.clone() for name, each in sae.tensors().items()}
    tensors["W_dec"][[3, 9]] = 0
    folder = save_sae(type(sae)(sae.config, tensors), tmp_path / "sae")
    with pytest.warns(DoubtfulInput, match=r"W_dec has 2 rows of zeros \(3, 9\)"):
        load_sae(folder)


# Fault 13: wrong width, transposed, wrong kind; for every format


def saelens_with(tmp_path: Path, **tensors: torch.Tensor) -> Path:
    file = written.saelens(tmp_path)
    path = file.path / "sae_weights.safetensors"
    shapes = {"W_enc": (6, 15), "W_dec": (15, 6), "b_enc": (15,), "b_dec": (6,)}
    held = tensor_files.open_safetensors(path).take_all(shapes)
    save_file(held | tensors, path)
    return file.path


def test_transposed(tmp_path: Path) -> None:
    refused(
        saelens_with(tmp_path, W_dec=torch.zeros(6, 15)),
        "sae_weights.safetensors: W_dec is (6, 15), expected (15, 6); is it transposed?",
    )


def test_wrong_width(tmp_path: Path) -> None:
    refused(saelens_with(tmp_path, W_enc=torch.zeros(7, 15)), "W_enc is (7, 15), expected (6, 15)")


def test_wrong_kind(tmp_path: Path) -> None:
    refused(saelens_with(tmp_path, b_enc=torch.zeros(15, dtype=torch.int64)), "b_enc holds I64, expected one of F64")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_single(tmp_path: Path, kind: torch.dtype) -> None:
    value = written.draw(3, 15).to(kind)
    sae = load_sae(saelens_with(tmp_path, b_enc=value))
    assert sae.b_enc is not None
    assert sae.b_enc.dtype == torch.float32
    assert torch.equal(sae.b_enc, value.float())


def test_transposed_in_the_other_formats(tmp_path: Path) -> None:
    d, f = written.D, written.F
    scope = written.gemma_scope(tmp_path / "a", "res").path
    arrays = dict(np.load(scope / "params.npz"))
    np.savez(scope / "params.npz", **arrays | {"W_enc": arrays["W_enc"].T})
    refused(scope, "params.npz", f"W_enc is ({f}, {d}), expected ({d}, {f}); is it transposed?")

    openai = written.openai(tmp_path / "b", "ReLU").path
    state = torch.load(openai, weights_only=True)
    torch.save(state | {"encoder.weight": state["encoder.weight"].T.contiguous()}, openai)
    refused(openai, "8.pt", f"encoder.weight is ({d}, {f}), expected ({f}, {d}); is it transposed?")

    sparsify = written.sparsify(tmp_path / "c").path
    held = {"encoder.weight": torch.zeros(f, d), "encoder.bias": torch.zeros(f), "b_dec": torch.zeros(d)}
    save_file(held | {"W_dec": torch.zeros(d, f)}, sparsify / "sae.safetensors")
    refused(sparsify, f"W_dec is ({d}, {f}), expected ({f}, {d}); is it transposed?")

    learning = written.dictionary_learning(tmp_path / "d", "AutoEncoderNew").path
    state = torch.load(learning / "ae.pt", weights_only=True)
    torch.save(state | {"decoder.weight": state["decoder.weight"].T.contiguous()}, learning / "ae.pt")
    refused(learning, f"decoder.weight is ({f}, {d}), expected ({d}, {f}); is it transposed?")

    llama = written.llama_scope(tmp_path / "e", decoder_norm=True).path
    held = {"encoder.weight": torch.zeros(d, f), "encoder.bias": torch.zeros(f), "decoder.bias": torch.zeros(d)}
    save_file(held | {"decoder.weight": torch.zeros(d, f)}, llama / "checkpoints" / "final.safetensors")
    refused(llama, f"encoder.weight is ({d}, {f}), expected ({f}, {d}); is it transposed?")


def test_a_missing_tensor_names_those_there_are(tmp_path: Path) -> None:
    file = written.saelens(tmp_path, "jumprelu")
    path = file.path / "sae_weights.safetensors"
    save_file({"W_enc": torch.zeros(6, 15)}, path)
    refused(file.path, f"{path}: W_dec is missing; the file holds W_enc")


# Configurations


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"architecture": "temporal"}, "architecture is 'temporal', expected one of standard"),
        ({"d_in": "6"}, "d_in is '6', expected a whole number"),
        ({"d_sae": None}, "d_sae is None, expected a whole number"),
        ({"normalize_activations": "covariance_whitening"}, "normalize_activations is 'covariance_whitening'"),
        ({"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu', expected relu or topk"),
        ({"architecture": "topk"}, "k is missing, expected a number"),
        ({"architecture": "topk", "k": 16}, "k is 16, expected a whole number from 1 to 15"),
        ({"metadata": [1]}, "metadata is [1], expected an object"),
        ({"metadata": {"hook_name": "blocks.0.attn.hook_z", "hook_head_index": 3}}, "reads head 3 alone"),
        ({"metadata": {"hook_name": "blocks.0.attn.hook_z", "hook_point_head_index": 0}}, "reads head 0 alone"),
    ],
)
def test_configurations(tmp_path: Path, cfg: dict[str, object], message: str) -> None:
    file = written.saelens(tmp_path, cfg=cfg)
    refused(file.path, str(file.path), message)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"d_in": ' + "[" * 100_000, "\udc80"])
def test_configurations_that_are_not_json(tmp_path: Path, text: str) -> None:
    file = written.saelens(tmp_path)
    (file.path / "cfg.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(file.path, str(file.path / "cfg.json"))


@pytest.mark.parametrize("dict_class", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_never_set(tmp_path: Path, dict_class: str) -> None:
    file = written.dictionary_learning(tmp_path, dict_class, threshold=-1.0)
    refused(file.path, str(file.path), "threshold is -1", "was never given one")


def test_a_saelens_threshold_never_set(tmp_path: Path) -> None:
    """SAELens starts its moving average at 0."""
    file = written.saelens(tmp_path, "batchtopk", cfg={"k": 4})
    path = file.path / "sae_weights.safetensors"
    shapes = {"W_enc": (6, 15), "W_dec": (15, 6), "b_enc": (15,), "b_dec": (6,)}
    tensors = tensor_files.open_safetensors(path).take_all(shapes)
    save_file(tensors | {"topk_threshold": torch.tensor(0.0)}, path)
    refused(file.path, "was never given one")


def test_a_scale_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    file = written.saelens(tmp_path, cfg={"normalize_activations": "expected_average_only_in"})
    with pytest.warns(DoubtfulInput, match="no scale lies beside it"):
        load_sae(file.path)


def test_dictionary_learning_that_disagrees_with_itself(tmp_path: Path) -> None:
    file = written.dictionary_learning(tmp_path, "BatchTopKSAE")
    config = json.loads((file.path / "config.json").read_text())
    config["trainer"]["k"] = 9
    (file.path / "config.json").write_text(json.dumps(config))
    refused(file.path, "k is 4, and config.json says 9")


# Paths


def test_nothing_is_there(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "missing: there is no such file or folder")
    (tmp_path / "notes.txt").touch()
    message = refused(tmp_path, "no SAE is recognised there. It holds notes.txt", "SAELens: cfg.json")
    for name in ("sae_core", "Gemma Scope", "OpenAI", "sparsify", "dictionary_learning", "Llama Scope"):
        assert name in message


def test_several_saes_in_a_folder_are_named(tmp_path: Path) -> None:
    written.sparsify(tmp_path)
    written.sparsify(tmp_path, "layers.5.mlp")
    refused(tmp_path / "sae-llama", "holds 2 SAEs; name one: layers.5, layers.5.mlp")


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="google/gemma-scope-2b-pt-res/layer_20: no such folder here, and the hub"):
        load_sae("google/gemma-scope-2b-pt-res/layer_20")


def test_writing_over_another_sae_is_refused(tmp_path: Path, ours: Path) -> None:
    with pytest.raises(BadInput, match="holds an SAE of sae_core already"):
        save_sae(make(Family.RELU), ours, format="saelens")
    with pytest.raises(BadInput, match="'pickle' cannot be written, expected one of ours, saelens"):
        save_sae(make(Family.RELU), tmp_path / "x", format="pickle")
