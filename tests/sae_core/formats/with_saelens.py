"""Run by the Python of SAELens's own environment: reads what we wrote, and writes what we read.

usage: with_saelens.py FOLDER, where FOLDER/x.pt are inputs and FOLDER/ours/* are SAEs that we wrote. Outputs lie beside
each SAE in outputs.pt; SAELens's own are written to FOLDER/theirs/*.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class

D, F, D_OUT = 6, 15, 4
HOOKPOINT = "blocks.0.hook_resid_pre"
COMMON = {"d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu"}
TRANSCODER = {"d_out": D_OUT, "apply_b_dec_to_input": False}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("standard", {}),
    "no pre-bias": ("standard", {"apply_b_dec_to_input": False}),
    "layer norm": ("standard", {"normalize_activations": "layer_norm"}),
    "constant norm": ("standard", {"normalize_activations": "constant_norm_rescale"}),
    "topk": ("topk", {"k": 4}),
    "topk rescaled": ("topk", {"k": 4, "rescale_acts_by_decoder_norm": True}),
    "abstopk": ("abstopk", {"k": 4}),
    "jumprelu": ("jumprelu", {}),
    "gated": ("gated", {}),
    "transcoder": ("transcoder", TRANSCODER),
    "layer norm transcoder": ("transcoder", TRANSCODER | {"normalize_activations": "layer_norm"}),
    "skip transcoder": ("skip_transcoder", TRANSCODER),
    "jumprelu transcoder": ("jumprelu_transcoder", TRANSCODER),
    "jumprelu skip transcoder": ("jumprelu_skip_transcoder", TRANSCODER),
}
TRAINED: dict[str, dict[str, Any]] = {
    "batchtopk": {"k": 4},
    "matryoshka_batchtopk": {"k": 4, "matryoshka_widths": [5, F]},
}


def randomise(sae: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.6
            parameter.copy_(drawn.abs() if name == "threshold" else drawn)


def outputs(sae: Any, x: torch.Tensor, where: Path) -> None:
    with torch.no_grad():
        torch.save({"acts": sae.encode(x), "x_hat": sae(x)}, where / "outputs.pt")


def main(folder: Path) -> None:
    x = torch.load(folder / "x.pt", weights_only=True)
    for each in sorted((folder / "ours").iterdir()):
        outputs(SAE.load_from_disk(each), x, each)
    for name, (architecture, changes) in PLAIN.items():
        cfg = {"architecture": architecture, **COMMON, **changes, "metadata": {"hook_name": HOOKPOINT}}
        sae = SAE.from_dict(cfg)
        randomise(sae)
        where = folder / "theirs" / name
        sae.save_model(where)
        outputs(sae, x, where)
    for name, changes in TRAINED.items():
        class_, config_class = get_sae_training_class(name)
        sae = class_(config_class.from_dict({**COMMON, **changes}))
        randomise(sae)
        sae.topk_threshold = torch.tensor(0.4, dtype=torch.float64)
        exported, checkpoint = folder / "theirs" / f"{name} exported", folder / "theirs" / f"{name} checkpoint"
        sae.save_inference_model(exported)
        outputs(SAE.load_from_disk(exported), x, exported)
        sae.save_model(checkpoint)
        outputs(SAE.load_from_disk(exported), x, checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
