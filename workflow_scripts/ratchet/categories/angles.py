"""What there is to try in each category, the usual first choice first.

An angle is a few words for people and a pattern that tells whether a description
was about it.  The list is judgement from public sessions of language models; a
task with other categories has none and is served by its search space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ratchet.categories.words import normal

# Patterns meet normalised text: lower case, underscores and hyphens as spaces.
ANGLES: dict[str, tuple[tuple[str, str], ...]] = {
    "architecture": (
        ("attention head count", r"heads?\b(?! dim)|head dim|\bgqa\b|\bmqa\b|multi query|kv head"),
        ("layer depth", r"depth\b(?! dependent)|\blayers\b|deeper|shallow"),
        ("skip connections", r"skip|u ?net|\bx0\b|resid|highway|dense connection"),
        ("model width", r"width|aspect|\bdim\b|wider|narrow"),
        ("MLP expansion", r"\bmlp\b|\bffn\b|expansion|hidden"),
        ("attention window pattern", r"window|pattern|sliding|\b[sl]{3,}\b"),
        ("normalisation placement", r"norm\b|norms\b|rmsnorm|layernorm"),
        ("gating", r"\bgat(e|ed|ing)\b"),
        ("initialisation scale", r"\binit"),
    ),
    "hyperparams": (
        ("learning rate of the matrices", r"matrix lr|(?<!embedding )(?<!embed )learning rate"),
        ("batch size", r"\bbatch|accum"),
        ("cooldown length", r"warm ?down|cool ?down|\bwsd\b"),
        ("warm-up length", r"warm ?up"),
        ("final learning rate", r"final lr|min lr|lr floor|lr frac"),
        ("schedule shape", r"cosine|schedule|linear decay|\bsqrt\b"),
        ("embedding learning rate", r"embed\w* lr"),
    ),
    "optimizer": (
        ("momentum", r"momentum|beta ?1|nesterov"),
        ("second-moment decay", r"beta ?2|second moment"),
        ("gradient clipping", r"clip|max norm"),
        ("orthogonalisation steps", r"ns ?steps|newton|schulz|orthogonal|polar"),
        ("epsilon", r"\beps"),
        ("weight averaging", r"\bema\b|\bswa\b|averag"),
        ("another update rule", r"\blion\b|sophia|shampoo|\bsoap\b|adafactor|cautious"),
    ),
    "regularization": (
        ("weight decay strength", r"\bwd\b|weight ?decay|decay strength"),
        ("logit soft cap", r"soft ?cap|logit ?cap"),
        ("z-loss", r"z ?loss"),
        ("dropout", r"drop ?(out|path)|stochastic depth"),
        ("label smoothing", r"smoothing"),
        ("weight decay schedule", r"(wd|decay) (schedule|follows|constant)|(constant|sqrt) wd"),
    ),
    "activation": (
        ("squared ReLU", r"relu ?(2|\^2|²|squared)|squared relu|relu2"),
        ("SwiGLU", r"swiglu|geglu|\bglu\b"),
        ("GELU", r"\bgelu"),
        ("SiLU", r"\bsilu|swish"),
        ("leaky ReLU", r"leaky"),
    ),
    "embedding": (
        ("RoPE base frequency", r"\brope\b|rotary|theta"),
        ("value embeddings", r"\bves?\b|value emb"),
        ("embedding initial scale", r"(embed\w*|wte) (init|std)"),
        ("weight tying", r"\btying\b|\btied?\b"),
        ("n-gram embeddings", r"bi ?gram|n ?gram"),
        ("embedding width", r"embed\w* dim"),
    ),
    "efficiency": (
        ("fewer wasted steps at the start", r"compil|start ?up|precomput"),
        ("lower precision", r"\bfp ?8|\bbf16|precision|\btf32"),
        ("fused kernels", r"fused|flash|kernel"),
        ("less memory, spent on a larger model", r"memory|vram|checkpointing|recomput"),
        ("removing parts that cost time", r"remov|simplif|without|\bno\b"),
    ),
    "data": (
        ("sequence length", r"seq(uence)? ?len|context ?len|max seq"),
        ("order of the documents", r"shuffl|\border|curriculum"),
        ("packing of documents", r"pack"),
        ("sampling weights", r"sampl|mixture"),
    ),
}


def untried(category: str, descriptions: Iterable[str]) -> list[str]:
    """Angles of a category that none of the descriptions is about."""
    said = [normal(text) for text in descriptions]
    return [
        angle
        for angle, pattern in ANGLES.get(category, ())
        if not any(re.search(pattern, text) for text in said)
    ]
