"""A transformer of attention alone, as a class of transformers: no MLP, no norm and no bias.

    x_0 = W_E[token]    x_{i+1} = x_i + Σ_heads A·(x_i W_V) W_O    logits = x_n W_U
    A = softmax over j ≤ i of ((x + p)_i W_Q · (x + p)_j W_K) / √d_head

Positions p enter as in the shortformer (Press et al., 2021): they are added to what queries and keys read, in every
layer, and to nothing else. So values hold no positions, and with the attention patterns A given the logits are linear
in the tokens: W_E W_U along the direct path, A ⊗ W_E W_V W_O W_U through each head, and products of these through
heads of several layers, with nothing left over.

Importing this module makes the class known to AutoConfig and AutoModelForCausalLM.
"""

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import CausalLMOutputWithPast


@strict
class AttentionOnlyConfig(PreTrainedConfig):
    model_type = "attention_only"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 50257
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 8
    max_position_embeddings: int = 1024
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = False

    def validate_architecture(self) -> None:
        """Called by transformers."""
        if self.num_attention_heads < 1 or self.hidden_size % self.num_attention_heads:
            heads = self.num_attention_heads
            raise ValueError(f"hidden_size is {self.hidden_size}, expected a multiple of num_attention_heads, {heads}")
        if self.tie_word_embeddings:
            raise ValueError("tie_word_embeddings is True, expected False: W_E and W_U are two matrices here")


class Attention(nn.Module):
    def __init__(self, config: AttentionOnlyConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_heads: int = config.num_attention_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        placed = x + positions  # (contexts, length, d_model)
        q, k, v = self._heads(self.q_proj(placed)), self._heads(self.k_proj(placed)), self._heads(self.v_proj(x))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        # Without a mask there are either as many queries as keys, or one query that sees them all.
        causal = mask is None and q.shape[2] > 1
        z = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        written: Tensor = self.o_proj(z.transpose(1, 2).flatten(2))  # (contexts, length, d_model)
        return written

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)  # (contexts, heads, length, d_head)


class Block(nn.Module):
    def __init__(self, config: AttentionOnlyConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        written: Tensor = self.attn(x, positions, mask, cache)
        return x + written


class Body(nn.Module):
    """What the weights' names call `model`."""

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))


class AttentionOnlyForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = AttentionOnlyConfig
    base_model_prefix = "model"
    _no_split_modules = ["Block"]
    _supports_sdpa = True

    def __init__(self, config: AttentionOnlyConfig) -> None:
        super().__init__(config)
        self.model = Body(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """The hidden states are what goes into every block, and what comes out of the last."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        x: Tensor = self.model.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = _position_ids(x, attention_mask, past_key_values)
        positions = self.model.embed_positions(position_ids)  # (contexts or 1, length, d_model)
        mask = create_causal_mask(self.config, x, attention_mask, past_key_values)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states: tuple[Tensor, ...] | None = (x,) if wanted else None
        for block in self.model.layers:
            x = block(x, positions, mask, past_key_values)
            states = None if states is None else (*states, x)
        logits = self.lm_head(x[:, -logits_to_keep:])
        return CausalLMOutputWithPast(
            loss=None if labels is None else self.loss_function(logits, labels, self.config.vocab_size, **kwargs),
            logits=logits,
            past_key_values=past_key_values,
            hidden_states=states,
        )


def _position_ids(x: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> Tensor:
    """Counted from the first token that is no padding.  # (contexts or 1, length)"""
    length = x.shape[1]
    if attention_mask is not None and attention_mask.dim() == 2:
        return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
    seen = 0 if cache is None else cache.get_seq_length()
    return torch.arange(length, device=x.device)[None] + seen


AutoConfig.register(AttentionOnlyConfig.model_type, AttentionOnlyConfig, exist_ok=True)
AutoModelForCausalLM.register(AttentionOnlyConfig, AttentionOnlyForCausalLM, exist_ok=True)
