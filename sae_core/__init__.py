"""Sparse autoencoders of language models, in torch and numpy: tensors in, tensors out. Knows nothing of rows or users.

An lm and an SAE from folders, or by their ids on the Hugging Face hub; any library may have written the SAE:

>>> import sae_core
>>> lm = sae_core.load_lm("lm")
>>> sae = sae_core.load_sae("sae")
>>> sae
Sae(topk, 16 -> 64 -> 16, blocks.1.hook_resid_post)

Text becomes contexts of token ids on the disk, each of which knows its document:

>>> corpus = sae_core.build_corpus(["texts"], lm.tokenizer, "corpus", context_length=24)
>>> corpus.contexts.shape[1]
24
>>> corpus.document(corpus.document_of(0)).name
'texts/a.txt'

The lm runs as far as the hookpoint and no further; latents are dense, or those that fire:

>>> tokens = corpus.contexts[:8]
>>> x = lm.activations(tokens, sae.hookpoint).flatten(0, 1)  # (contexts, length, d) -> (n, d_in)
>>> acts = sae.encode(x)  # (n, n_latents)
>>> sparse = sae.encode_sparse(x)  # values and indices, both (n, m)
>>> acts.shape, sparse.values.shape
(torch.Size([192, 64]), torch.Size([192, 4]))
>>> x_hat = sae.decode(sparse)  # (n, d_out)
>>> bool((x_hat - sae(x)).abs().max() < 1e-5)
True

Does the SAE belong to this lm, as it is read here? And how well does it stand in for it?

>>> fit = sae_core.check_fit(lm, sae, corpus.contexts)
>>> fit.message.startswith(f"FVU {fit.as_it_is.fvu:.2f} at L0 4.0")
True
>>> metrics = sae_core.measure(lm, sae, corpus.contexts, lengths=corpus.lengths)
>>> metrics.l0, metrics.fvu < 1, metrics.ce_sae > metrics.ce_clean
(4.0, True, True)

The token that a latent fires on most, and the tokens that it makes likelier:

>>> latent = int(metrics.n_fired.argmax())
>>> position = int(acts[:, latent].argmax())
>>> token = lm.tokenizer.decode(tokens.flatten()[position : position + 1])
>>> tops = sae_core.top_logits(lm, sae.W_dec[[latent]], sae.hookpoint_out, k=3)
>>> [lm.tokenizer.decode([token]) for token in tops.top_ids[0].tolist()]  # doctest: +ELLIPSIS
[...]

What if it were not there? Activations are replaced where they pass, here without what the latent writes:

>>> def without(x):
...     return x - sae.encode(x)[..., [latent]] * sae.W_dec[latent]
>>> changed = lm.logits(tokens, {sae.hookpoint: without}) - lm.logits(tokens)
>>> changed.shape == (8, 24, lm.n_vocab), bool(changed.abs().max() > 0)
(True, True)

The lm writes on, as it is and with latents changed, and a random direction as a control; all in one pass:

>>> up = sae_core.Intervention(sae, sae_core.Method.CLAMP, (latent,), value=8.0)
>>> runs = [sae_core.Run(), sae_core.Run((up,)), sae_core.Run((up,), control=0)]
>>> plan = sae_core.Plan(tokens[0, :8].tolist(), runs, max_new_tokens=5, sampling=sae_core.Sampling(temperature=0.8))
>>> for default, steered, control in sae_core.steered(lm, plan):
...     text = lm.tokenizer.decode([steered.id])  # as soon as it is there, with its probability and what else might be

And what is it for? Every token is read once more without it, from its hookpoint on:

>>> found = sae_core.ablation(lm, sae, [latent], tokens)
>>> bool((found.kl[found.activation > 0] > 0).all())
True
>>> costs = found.loss[:, :-1][found.activation[:, :-1] > 0]  # of the next token, where it fires
>>> mean, n, low, high = sae_core.effect(costs.tolist())

What every latent fires on, and more (`sae_core.evidence` says what), from one pass over the text:

>>> parts = {"lengths": corpus.lengths, "pieces": corpus.pieces}  # what is padding, and whose the tokens are
>>> (about,) = sae_core.collect_evidence(lm, [sae], corpus.contexts, ["evidence.safetensors"], **parts)
>>> evidence = sae_core.ArrayFile("evidence.safetensors")
>>> bool((evidence["n_fired"] == metrics.n_fired.numpy()).all())
True
>>> evidence["top_act"].shape, evidence["logit_top_id"].shape
((64, 20), (64, 20))

Where its directions lie, what is alike near each other, in two dimensions; silent latents left out:

>>> alive = evidence["n_fired"] > 0
>>> made = sae_core.make_map([sae.W_dec], sae_core.MapConfig("tsne", perplexity=5), alive=[alive])
>>> made.places.shape == (alive.sum(), 2)
True

One of our own, from the same lm and text; several sizes and seeds could learn from the same stream:

>>> source = sae_core.LmSource(lm, corpus.contexts, "blocks.1.hook_resid_post", lengths=corpus.lengths)
>>> config = sae_core.TrainConfig(sae_core.Family.TOPK, n_latents=32, k=4)
>>> (trained,) = sae_core.train_saes(source, [config], sae_core.Training(tokens=640, batch_size=64))
>>> trained
Sae(topk, 16 -> 32 -> 16, blocks.1.hook_resid_post)

And it is written again, in our own format or in SAELens's:

>>> sae_core.save_sae(sae, "for-saelens", format="saelens").name
'for-saelens'

What cannot be used is refused with BadInput, which says what was wrong, where, and what to do; what can be used and was
probably not meant warns with DoubtfulInput. `python -m sae_core --help` lists what the command line does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_core.ablate import Ablation, ablation, effect
    from sae_core.array_files import ArrayFile
    from sae_core.collect import CollectConfig, collect_evidence, collect_part, finish, shards
    from sae_core.config import Family, Normalise, SaeConfig
    from sae_core.controls import Control, ControlKind, control_sae, matched
    from sae_core.corpus import Corpus, build_corpus, open_corpus
    from sae_core.errors import BadInput, DoubtfulInput
    from sae_core.families import neurons, random_directions, untrained
    from sae_core.fit import Fit, check_fit
    from sae_core.folding import prefix, scaled_inputs, unit_decoder
    from sae_core.formats import load_sae, save_sae
    from sae_core.geometry import encoder_decoder_cosine, mmcs, mutual_coherence
    from sae_core.interventions import Intervention, Method, Run, Where
    from sae_core.lens import logit_lens, top_inputs, top_logits
    from sae_core.lm import Lm, load_lm
    from sae_core.maps import LaidOut, MapConfig, known_neighbours, make_map
    from sae_core.masks import counted
    from sae_core.metrics import Metrics, measure
    from sae_core.sae import Sae
    from sae_core.sampling import Sampling
    from sae_core.sparse import Sparse
    from sae_core.steer import Plan, steered, steered_logits
    from sae_core.token_files import tokens_from_npy
    from sae_core.tokenizer import Tokenizer
    from sae_core.train import Progress, Training, train_saes
    from sae_core.training.config import TrainConfig
    from sae_core.training.sources import FileSource, LmSource

__all__ = [
    "Ablation",
    "ArrayFile",
    "BadInput",
    "CollectConfig",
    "Control",
    "ControlKind",
    "Corpus",
    "DoubtfulInput",
    "Family",
    "FileSource",
    "Fit",
    "Intervention",
    "LaidOut",
    "Lm",
    "LmSource",
    "MapConfig",
    "Method",
    "Metrics",
    "Normalise",
    "Plan",
    "Progress",
    "Run",
    "Sae",
    "SaeConfig",
    "Sampling",
    "Sparse",
    "Tokenizer",
    "TrainConfig",
    "Training",
    "Where",
    "ablation",
    "build_corpus",
    "check_fit",
    "collect_evidence",
    "collect_part",
    "control_sae",
    "counted",
    "effect",
    "encoder_decoder_cosine",
    "finish",
    "known_neighbours",
    "load_lm",
    "load_sae",
    "logit_lens",
    "make_map",
    "matched",
    "measure",
    "mmcs",
    "mutual_coherence",
    "neurons",
    "open_corpus",
    "prefix",
    "random_directions",
    "save_sae",
    "scaled_inputs",
    "shards",
    "steered",
    "steered_logits",
    "tokens_from_npy",
    "top_inputs",
    "top_logits",
    "train_saes",
    "unit_decoder",
    "untrained",
]

# Where each is defined. Imported when first asked for: transformers takes seconds, and an SAE alone does not need it.
_HOMES = {
    "ablate": ("Ablation", "ablation", "effect"),
    "array_files": ("ArrayFile",),
    "collect": ("CollectConfig", "collect_evidence", "collect_part", "finish", "shards"),
    "config": ("Family", "Normalise", "SaeConfig"),
    "controls": ("Control", "ControlKind", "control_sae", "matched"),
    "corpus": ("Corpus", "build_corpus", "open_corpus"),
    "errors": ("BadInput", "DoubtfulInput"),
    "families": ("neurons", "random_directions", "untrained"),
    "fit": ("Fit", "check_fit"),
    "folding": ("prefix", "scaled_inputs", "unit_decoder"),
    "formats": ("load_sae", "save_sae"),
    "geometry": ("encoder_decoder_cosine", "mmcs", "mutual_coherence"),
    "interventions": ("Intervention", "Method", "Run", "Where"),
    "lens": ("logit_lens", "top_inputs", "top_logits"),
    "lm": ("Lm", "load_lm"),
    "maps": ("LaidOut", "MapConfig", "known_neighbours", "make_map"),
    "masks": ("counted",),
    "metrics": ("Metrics", "measure"),
    "sae": ("Sae",),
    "sampling": ("Sampling",),
    "sparse": ("Sparse",),
    "steer": ("Plan", "steered", "steered_logits"),
    "token_files": ("tokens_from_npy",),
    "tokenizer": ("Tokenizer",),
    "train": ("Progress", "Training", "train_saes"),
    "training.config": ("TrainConfig",),
    "training.sources": ("FileSource", "LmSource"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sae_core' has no attribute {name!r}")
    return getattr(import_module(f"sae_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
