"""A feature as one names it in a text: enough to find it again, or to see that it is another one."""

from explorer.numbers import count, significant
from explorer.queries.features import FeaturePage

SHOWN = 12  # characters of a fingerprint


def of_feature(page: FeaturePage, permalink: str) -> str:
    sae = page.sae
    label = f" “{page.label.text}”" if page.label and page.label.text else ""
    what = f"{sae.family}, {count(sae.n_latents)} latents, {sae.hookpoint} of {sae.lm.name}"
    said = [f"Feature {page.index}{label} of {sae.name} ({what}; fingerprint {sae.fingerprint[:SHOWN]})."]
    if page.collection and page.activity:
        n, tokens = page.activity.n_fired, page.collection.tokens
        density = f"Density {significant(n / tokens)}" if n else "Never fired"
        said.append(f"{density}: {count(n)} of {count(tokens)} tokens of {page.collection.corpus.name}.")
    return " ".join([*said, permalink])
