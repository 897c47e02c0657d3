"""What the tests of sae_core share."""

from collections.abc import Iterator

import pytest
import torch

from sae_core.tokenizer import Tokenizer
from tests.sae_core import small_tokenizers
from tests.sae_core.lettered import LETTERS


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Two threads over matrices this small wait for each other: where the machine has other work, 86 s, not 5."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """a is 4, b is 5 …"""
    folder = tmp_path_factory.mktemp("tokenizers") / "letters"
    return small_tokenizers.made(small_tokenizers.words(LETTERS), folder, **small_tokenizers.WORDS)


@pytest.fixture(scope="package")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    end = "<|endoftext|>"
    folder = tmp_path_factory.mktemp("tokenizers") / "gpt2"
    return small_tokenizers.made(small_tokenizers.gpt2_like(), folder, bos_token=end, eos_token=end)
