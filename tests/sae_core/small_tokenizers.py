"""Tokenizers put together as the real ones are, with vocabularies of hundreds, as folders that `transformers` saved."""

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from sae_core.tokenizer import Tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.\n",
    "def add(first, second):\n    return first + second\n\n\nprint(add(1, 22))\n",
    "Il était une fois un café où l'on parlait naïvement de façades.\n",
    "語言模型 reads 言葉 one token at a time. 🙂🙂 the end of the end\n",
] * 4
SINGLE_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# As in Llama 3 and GPT-4: punctuation takes the newlines after it along.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save(backend: Any, folder: Path, **special: str) -> Path:
    """A folder that `Tokenizer.load` takes."""
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return folder


def load(folder: Path) -> Tokenizer:
    loaded = Tokenizer.load(folder)
    assert loaded is not None
    return loaded


def made(backend: Any, folder: Path, **special: str) -> Tokenizer:
    return load(save(backend, folder, **special))


def gpt2_like(texts: Sequence[str] = TEXTS, n_vocab: int = 400) -> Any:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return _byte_level(backend, texts, n_vocab, ["<|endoftext|>"])


def llama3_like(texts: Sequence[str] = TEXTS, n_vocab: int = 400) -> Any:
    backend = Backend(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(CL100K), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, whole])
    backend.decoder = decoders.ByteLevel()
    return _byte_level(backend, texts, n_vocab, ["<|begin_of_text|>", "<|end_of_text|>"])


def _byte_level(backend: Any, texts: Sequence[str], n_vocab: int, special: list[str]) -> Any:
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def llama2_like(texts: Sequence[str] = TEXTS, merges: int = 120) -> Any:
    backend = _sentencepiece_bpe(["<unk>", "<s>", "</s>"], texts, merges)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return backend


def gemma_like(texts: Sequence[str] = TEXTS, merges: int = 120) -> Any:
    backend = _sentencepiece_bpe(["<pad>", "<eos>", "<bos>", "<unk>"], texts, merges)
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    # Gemma lists runs of spaces, and of newlines, as added tokens that are not special.
    backend.add_tokens([AddedToken(each, normalized=False) for each in ("▁▁", "\n\n")])
    return backend


def _sentencepiece_bpe(special: list[str], texts: Sequence[str], merges: int) -> Any:
    """Characters, single bytes for those that it does not know, and no splitting beforehand."""
    learner = Backend(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=len(set("".join(texts))) + merges, show_progress=False)
    )
    learned = json.loads(learner.to_str())["model"]
    pairs = [("▁", "▁"), ("\n", "\n"), *(tuple(pair) for pair in learned["merges"])]
    tokens = [*special, *SINGLE_BYTES, *sorted(learned["vocab"], key=learned["vocab"].__getitem__)]
    tokens += [token for token in ("▁", "\n", "▁▁", "\n\n") if token not in tokens]
    model = models.BPE(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=pairs,
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = Backend(model)
    backend.add_special_tokens(special)
    return backend


def unigram(texts: Sequence[str] = TEXTS) -> Any:
    """T5's kind: it knows its alphabet and nothing else."""
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        initial_alphabet=list(string.ascii_letters + string.digits + string.punctuation + "éàï語言\n"),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


WORDS = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}


def words(known: Sequence[str]) -> Any:
    """Ids that a test can know: the words of a list, in its order, after <pad>, <eos>, <bos> and <unk>."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    vocab = {token: index for index, token in enumerate([*special, *known])}
    backend = Backend(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(special)
    return backend
