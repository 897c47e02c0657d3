"""A language model: loaded, run as far as a hookpoint, changed at hookpoints."""

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sae_core.architectures import lay_out
from sae_core.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from sae_core.devices import pick, precision
from sae_core.errors import BadInput
from sae_core.hookpoints import Replace, check_passed, hooked, names, read, width
from sae_core.tokenizer import Tokenizer

Tokens = Tensor | NDArray[Any] | Sequence[Sequence[int]]

WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
WHOLE = {torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.int64}
# By the type that a config names: those of transformers, and our own.
CAUSAL = {**MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, AttentionOnlyConfig.model_type: AttentionOnlyForCausalLM.__name__}
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
# What transformers raises for files that it cannot use; RuntimeError is not among them, it may be a lack of memory.
UNUSABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ImportError,
    StrictDataclassError,
    safetensors.SafetensorError,
)


class Lm:
    """A causal transformer. Padding on the right needs no mask: nothing before it sees it."""

    def __init__(self, hf: PreTrainedModel, tokenizer: Tokenizer | None = None, name: str = "") -> None:
        self.hf = hf.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name or str(hf.config.model_type)
        self.layout = lay_out(hf)
        config = hf.config.get_text_config()
        self.d_model = self.layout.d_model
        self.n_layers = len(self.layout.blocks)
        self.n_vocab: int = hf.get_input_embeddings().weight.shape[0]
        self.max_length: int | None = getattr(config, "max_position_embeddings", None)
        bos_ids, pad_ids = _ids(config, "bos_token_id"), _ids(config, "pad_token_id")
        self.bos_id = bos_ids[0] if bos_ids else None
        self.mask_ids = tuple(sorted({*bos_ids, *pad_ids}))

    @property
    def device(self) -> torch.device:
        device: torch.device = self.hf.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.hf.dtype
        return dtype

    @property
    def hookpoints(self) -> list[str]:
        """Every hookpoint that has a TransformerLens name, in the order of the forward."""
        return names(self.layout)

    def width(self, hookpoint: str) -> int:
        return width(self.layout, hookpoint)

    @cached_property
    def fingerprint(self) -> str:
        """The same for the same weights, wherever they come from."""
        digest = hashlib.sha256(str(self.hf.config.model_type).encode())
        for name, each in sorted(self.hf.named_parameters()):
            digest.update(f"{name} {each.dtype} {tuple(each.shape)}".encode())
            digest.update(each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def activations(self, tokens: Tokens, hookpoint: str, *, centred: bool = False) -> Tensor:
        """What passes at a hookpoint; nothing above it is computed.  # (contexts, length) -> (contexts, length, width)

        `centred` takes the mean over the width from each: what TransformerLens has there, where it has centred the
        weights that write to the residual stream.
        """
        x = self.read(tokens, [hookpoint])[hookpoint]
        return x - x.mean(-1, keepdim=True) if centred else x

    @torch.no_grad()
    def read(self, tokens: Tokens, hookpoints: Sequence[str]) -> dict[str, Tensor]:
        """What passes at several hookpoints, from one forward, which stops at the last of them."""
        ids = self.checked(tokens)
        return read(self.layout, hookpoints, lambda: self.hf(input_ids=ids, use_cache=False))

    @torch.no_grad()
    def logits(self, tokens: Tokens, replace: Mapping[str, Replace] = {}) -> Tensor:
        """Of every next token.  # (contexts, length) -> (contexts, length, n_vocab)

        Each function of `replace` is given what passes at its hookpoint and returns what goes on from there; one that
        comes later in the forward sees what those before it did.
        """
        ids = self.checked(tokens)
        with self.hooked(replace) as passed:
            logits: Tensor = self.hf(input_ids=ids, use_cache=False).logits
        check_passed(replace, passed)
        return logits

    def hooked(self, replace: Mapping[str, Replace]) -> AbstractContextManager[set[str]]:
        """Every forward within, in this thread, goes on with what the functions return; see `hookpoints.hooked`."""
        return hooked(self.layout, replace)

    def checked(self, tokens: Tokens) -> Tensor:
        ids = _whole_numbers(tokens)
        if ids.dim() != 2 or not ids.numel():
            raise BadInput(f"the tokens are of shape {tuple(ids.shape)}, expected (contexts, length), both above 0")
        if self.max_length is not None and ids.shape[1] > self.max_length:
            raise BadInput(f"the contexts are {ids.shape[1]} tokens long; {self.name} takes at most {self.max_length}")
        for extreme in torch.stack(ids.aminmax()).tolist():
            if not 0 <= extreme < self.n_vocab:
                raise BadInput(
                    f"token id {extreme} does not exist in {self.name}, whose ids are 0 to {self.n_vocab - 1} "
                    f"(n_vocab is {self.n_vocab}); were the tokens made by another lm's tokenizer?"
                )
        return ids.to(self.device)


def _whole_numbers(tokens: Tokens) -> Tensor:
    """The tokens in int64, whatever holds them."""
    if isinstance(tokens, Sequence):  # rows of ids, as one writes them by hand
        tokens = _from_rows(tokens)
    if isinstance(tokens, np.ndarray) and tokens.dtype.kind in "iu":
        return torch.from_numpy(tokens.astype(np.int64))
    if isinstance(tokens, Tensor) and tokens.dtype in WHOLE:
        return tokens.to(torch.int64)
    what = getattr(tokens, "dtype", type(tokens).__name__)
    raise BadInput(f"the tokens are {what}, expected a tensor or an array of whole numbers")


def _from_rows(rows: Sequence[Sequence[int]]) -> Tensor:
    try:
        return torch.tensor(rows)
    except (ValueError, TypeError) as error:
        raise BadInput(f"the tokens are no rows of whole numbers, all of one length: {error}") from error


def _ids(config: Any, name: str) -> list[int]:
    """A config may give one id, several or none; −1 stands for none too."""
    given = getattr(config, name, None)
    ids = given if isinstance(given, list | tuple) else [given]
    return [each for each in ids if isinstance(each, int) and each >= 0]


def load_lm(path_or_hub_id: str | Path, *, device: str | None = None, dtype: torch.dtype | str | None = None) -> Lm:
    """From a folder or the Hub, safetensors alone: no code that comes with the weights is run, and nothing unpickled.

    `device` as `devices.pick` takes it; in float32 unless `dtype` says otherwise.
    """
    where, kept_in = pick(device), precision(dtype)
    given = str(path_or_hub_id)
    folder = Path(given).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        source = str(folder)
    elif folder.exists():
        raise BadInput(f"{given} is a file; give the folder that holds it and its config.json")
    elif isinstance(path_or_hub_id, Path) or not HUB_ID.fullmatch(given):
        raise BadInput(f"{given}: there is no such folder")
    else:
        source = given
    hf = _load(source, kept_in, local=folder.is_dir()).to(where)
    lm = Lm(hf, Tokenizer.load(source), folder.resolve().name if folder.is_dir() else given)
    _check_tokenizer(lm, given)
    return lm


# While transformers loads it changes how modules are made for the whole process: of two at once, one misses its tied
# weights.
_LOADING = threading.Lock()


def _load(source: str, dtype: torch.dtype, *, local: bool) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except UNUSABLE as error:
        what = "its config.json cannot be used" if local else "neither a folder here nor an lm that the Hub gives"
        raise BadInput(f"{source}: {what}: {_first_line(error)}") from error
    saved = config.architectures or []
    if config.model_type not in CAUSAL or (saved and not set(CAUSAL.values()) & set(saved)):
        says = ", ".join(saved) or config.model_type
        raise BadInput(f"{source} is not a causal language model: its config says {says}")
    try:
        with _LOADING:
            hf, found = AutoModelForCausalLM.from_pretrained(
                source,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name
            )
    except UNUSABLE as error:
        raise BadInput(f"{source}: its weights cannot be loaded: {_first_line(error)}") from error
    # transformers would fill either with random numbers.
    if wrong := sorted(found["mismatched_keys"]):
        name, shape, expected = wrong[0]
        raise BadInput(f"{source}: {name} is {tuple(shape)}, expected {tuple(expected)} by its config.json")
    if missing := sorted(found["missing_keys"]):
        raise BadInput(f"{source}: its safetensors lack {len(missing)} of the weights, {missing[0]} among them")
    return hf


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_folder(folder: Path) -> None:
    """That what an lm needs is there and whole, said in words before transformers tries."""
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: there is no config.json; is it the folder of a language model of transformers?")
    for path in _weight_files(folder):
        if not path.is_file():
            raise BadInput(f"{path} is missing; {SHARDS} names it")
        try:
            with safetensors.safe_open(path, framework="pt"):
                pass
        except UNUSABLE as error:
            raise BadInput(f"{path} is not a whole safetensors file ({error}). Was the download cut short?") from error


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / SHARDS).is_file():
        others = ", ".join(sorted(each.name for each in folder.glob("*.bin"))) or "no weights"
        raise BadInput(
            f"{folder}: expected {WEIGHTS}, found {others}. A .bin file can run code when it is opened, and is not; "
            "where you trust it, load it with transformers and call save_pretrained(folder, safe_serialization=True)"
        )
    try:
        names = sorted(set(json.loads((folder / SHARDS).read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{folder / SHARDS} does not name the files of the weights: {error}") from error
    if wrong := [name for name in names if name in ("", ".", "..") or Path(name).name != name]:
        raise BadInput(f"{folder / SHARDS} names {wrong[0]!r}, expected a file beside it")
    return [folder / name for name in names]


def _check_tokenizer(lm: Lm, source: str) -> None:
    tokenizer = lm.tokenizer
    if tokenizer is None:
        return
    # Gemma 3's smallest lm has a row less than its tokenizer has tokens: that one is for images, and no text gives it.
    beyond = [each for each in range(lm.n_vocab, tokenizer.n_vocab) if each not in tokenizer.special_ids]
    if beyond:
        raise BadInput(
            f"{source}: its tokenizer has {tokenizer.n_vocab} tokens and its lm {lm.n_vocab} embeddings, so that token "
            f"{beyond[0]} cannot be looked up; put the tokenizer there that the lm was trained with"
        )
