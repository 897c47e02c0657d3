"""What one SAE read over one corpus leaves behind: `evidence.safetensors`, its names and its units.

F latents, K = top_k. Lists end in context −1 and value 0 where there is less. All contexts are numbers of the corpus's
contexts; positions are within a context. A latent fires at a token where its activation is not 0; below 0 it can be in
signed TopK alone, and lists, intervals and histogram are of activations above 0.

    counts       n_fired i64 (F) tokens it fires at; n_contexts i64 (F); n_documents i64 (F), −1 where documents are not
                 known; sum_act, sum_sq_act f64 (F); max_act, p99_act f32 (F)
    top          top_act f32 (F, K) falling, top_context, top_position i64 (F, K): its strongest contexts, each once, at
                 its peak; ties by lower context, then position
    distinct     distinct_act, distinct_context, distinct_position (F, K): the same, of windows of ±8 tokens that differ
    intervals    interval_edge f32 (F, 6): 0, four edges of the histogram's bins nearest 0.2, 0.4, 0.6, 0.8 of the
                 maximum, and the maximum; interval_n_fired i64, interval_sum_act f64 (F, 5): what fires within;
                 interval_act, _context, _position (F, 5, 5): drawn uniformly from the tokens that fire within, each
                 context once. The lowest interval first
    strip        strip_act, strip_context, strip_position (F, 10): drawn uniformly from all tokens it fires at
    near misses  near_pre_act f32, near_context, near_position i64 (F, 5): contexts in which it does not fire, by its
                 highest pre-activation there
    histogram    hist_start i64 (F + 1), and of each bin that is not empty hist_bin i16, hist_n_fired i64,
                 hist_sum_act f64; bin b lies between bin_edge(b) and bin_edge(b + 1)
    examples     example_start i64 (F + 1); of each context in any of these lists, once a latent, by rising context:
                 example_context i32 (E); firing_start i64 (E + 1); firing_position u16, firing_act f32
    lens         logit_top_id i32, logit_top f32 (F, 20) falling; logit_bottom_id, logit_bottom (F, 20) rising;
                 logit_std, logit_skew, logit_kurtosis f32 (F); logit_hist i32 (F, 32), equal bins between logit_low
                 and logit_high f32 (F); absent where nothing is written to the residual stream
    input lens   input_id i32, input f32 (F, 10) falling: tokens whose embeddings it reads most; in the residual
                 stream alone
    geometry     decoder_norm f32 (F); encoder_cosine f32 (F), −2 for transcoders; neighbour i32, neighbour_cosine f32
                 (F, 16) falling: nearest by decoder cosine, itself left out, −1 and −2 where there are not so many
    together     cofire i32, cofire_n i32, cofire_phi f32 (F, 10) falling by phi, ties by lower latent: latents that
                 fire at the same tokens of the audit sample, at how many (two at least, as one is chance), and the
                 correlation of firing and firing; −1, 0 and −2 where there are less
    neurons      correlated_neuron i32, correlated_pearson f32 (F, 10) by falling |r|; aligned_neuron i32,
                 aligned_weight f32 (F, 10) by falling |weight|; where the hookpoint's axes are an MLP's neurons
    audit        audit_token i64 (A) = context · context_length + position, rising; audit_start i64 (A + 1);
                 audit_latent i32, audit_act f32: what fires at up to 262,144 tokens drawn uniformly

`about` says how it was made: format, lm, sae, hookpoint, latents, contexts, context_length, tokens (that count),
masked, mask_ids, top_k, audit_tokens, device, dtype.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
INTERVALS, OF_INTERVAL, STRIP, NEAR, COFIRE, NEURONS, INPUTS = 5, 5, 10, 5, 10, 10, 10
LOGITS, LOGIT_BINS, NEIGHBOURS = 20, 32, 16
AUDIT_TOKENS = 262_144
WINDOW = 8  # tokens to both sides
UNKNOWN = -2.0  # no cosine is that

# Eight bins an octave, which are the sign, exponent and first three bits of the fraction of a float32.
SHIFT = 20
FIRST_BIN, LAST_BIN = (127 - 40) << 3, (127 + 40) << 3  # 2^-40 to 2^40; what lies beyond counts as these


def bin_of(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """The histogram's bin of each value above 0."""
    bins: NDArray[np.int16] = np.clip(values.view(np.int32) >> SHIFT, FIRST_BIN, LAST_BIN).astype(np.int16)
    return bins


def bin_edge(bins: NDArray[np.signedinteger[Any]]) -> NDArray[np.float32]:
    """The least value of each bin."""
    return (bins.astype(np.int32) << SHIFT).view(np.float32)
