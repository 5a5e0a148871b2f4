"""Categories of words: descriptions of changes and names in code.

What is changed counts before what it is changed of: the learning rate of an
embedding is a matter of learning rates.  So words come in tiers; the first tier
that knows any word of the text decides, and within it the word that comes first,
as authors name the thing first and its circumstances later.  For the same reason
the first clause is read before the rest, and what stands in brackets, usually the
author's remark, only if nothing else helps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

OTHER = "other"

# Long words may be parts of a name (``CausalSelfAttention``); short ones, marked
# by \b, may not.  Underscores, hyphens, dots and slashes are read as spaces.
_TIERS: tuple[dict[str, str], ...] = (
    # No change of the code at all.
    {
        OTHER: r"^(\w+ )?baseline\b|^no changes?\b|^(initial|original|unmodified)"
        r" (run|code|config\w*|setup|version)|^(default|vanilla|reference) (run|code|config)"
        r"|\bre ?runs?\b|\breplicates?\b|\b(random|different|another|new|data) seeds?\b|^seeds?\b",
    },
    # Quantities.
    {
        "regularization": r"\bwds?\b|weight ?decay|drop ?(out|path)|stochastic ?depth"
        r"|smooth(ing|ed)|\bz ?loss|soft ?cap|logit ?cap|(logit|score)s? cap|regulari[sz]"
        r"|\bl[12] (penalty|loss|norm|reg)|mixup|entropy (penalty|bonus)|penalty",
        "efficiency": r"precomput|\bcompil|torch ?compile|\bfp ?(8|16)\b|\bbf16\b|\btf32\b"
        r"|\bfloat(8|16)\b|bfloat16|(mixed|matmul|half) precision|flash ?att|\bfused\b"
        r"|checkpointing|recomput|cuda ?graph|prefetch|pin ?memory|num workers|kv ?cache"
        r"|autocast|quanti[sz]",
        "optimizer": r"\bbetas?\d?\b|\bmomentum|nesterov|\bns ?steps?\b|newton|schulz"
        r"|orthogonali|polar express|clip(ping|ped)?\b|\bgrad clip|\bmax norm\b"
        r"|\beps(ilon)?\b|\bema\b|\bswa\b|weight averag|look ?ahead|second moment"
        r"|precondition",
        "hyperparams": r"\b\w{0,12}lrs?\b|learning ?rates?|\bbatch(?! ?norm)|warm ?up|warm ?down"
        r"|cool ?down|schedul|\bwsd\b|anneal|\bcosine\b|grad(ient)? ?accum|\baccum|epochs?\b"
        r"|hyper ?param|\b(linear|exponential|polynomial|sqrt) decay|time budget",
    },
    {
        "activation": r"\w*relu\d?\b|\bgelu|\bsilu\b|swish|\bmish\b|\w*glu\b|activation"
        r"|nonlinear|\btanh\b|sigmoid|\belu\b|softplus",
    },
    # Parts, and the methods that move them.
    {
        "embedding": r"embed|\bwte\b|\bwpe\b|\brope\b|rotary|\bves?\b|positional|position enc"
        r"|vocab|\btying\b|\btied?\b|alibi|bi ?gram|\bn ?grams?\b|token ?shift|smear",
        "optimizer": r"muon|adam|\bsgd\b|\blion\b|adafactor|sophia|shampoo|\bsoap\b|optimi[sz]er"
        r"|rmsprop|lbfgs|cautious",
        "data": r"\bdata|shuffl|tokeni[sz]|curriculum|seq(uence)? ?len|context ?len|max seq"
        r"|augment|packing|\bcorpus\b|\bbpe\b|documents?\b|\bsampl(er|ing)\b|windows? of bytes"
        r"|\bstarts\b|bincount",
        "architecture": r"depth|layers?\b|\bwidth|dim\b|heads?\b|attention|\battn|\bmlps?\b|\bffn"
        r"|aspect|\bgqa\b|\bmqa\b|\bkv\b|window|transformer|blocks?\b|resid|skip|norms?\b"
        r"|norm\d?d\b|rmsnorm|layernorm|batch ?norm|\binit|conv|\bgat(e|ed|es|ing)\b|\bmoe\b"
        r"|expert|lambda|expansion"
        r"|hidden|parallel|recurr|pattern|channels?\b|\b[sl]{3,}\b|\bproj|c proj|\bqk?v?\b"
        r"|deeper|wider|deep\b|narrow|softmax|\bbias|mamba|lstm|\bssm\b|\bu ?net\b|mixer|encoder"
        r"|decoder|\bmodel\b|aggregat|pooling|\bmlp\w*ratio\b|capacity|parameters?\b",
    },
    # Said of everything; telling only where nothing else is said.
    {
        "efficiency": r"memory|\bvram\b|speed|faster|throughput|kernel|\bcache|cheaper|overhead",
        "hyperparams": r"\brates?\b|\bsteps?\b|\bbudget\b|\bdecay\b|\bscale\b",
    },
)

_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_LABEL = re.compile(
    r"^\s*(exp(eriment)?|hypothesis|bottleneck|idea|try|test|agent|gpu|worker)\s*\d*\s*:\s*",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[;:(]|\.\s|\s[—–]\s|\s--?\s|\bhypothesis\b")
_JOINTS = re.compile(r"[_\-./\s]+")
_ANYTHING = frozenset({"data", "model"})
"""Names in code that say nothing: every tensor has ``data``."""

LONGEST_TEXT = 2000
"""Characters of a description that are read; what it is about is said early."""


def _pattern(tier: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{words})" for name, words in tier.items()))


_PATTERNS = tuple(_pattern(tier) for tier in _TIERS)


def normal(text: str) -> str:
    """Text as it is compared: lower case, the parts of names as words."""
    return _JOINTS.sub(" ", text[:LONGEST_TEXT].lower()).strip()


def category_of(text: str, own: Mapping[str, str] | None = None) -> str | None:
    """The category of a description; ``None`` if no word tells.

    ``own`` maps a task's names and words to categories and is asked first, the
    longest word before the others.
    """
    whole = _LABEL.sub("", text[:LONGEST_TEXT])
    plain = _BRACKETS.sub(" ", whole)
    for read in dict.fromkeys((_CLAUSE_END.split(plain, maxsplit=1)[0], plain, whole)):
        words = normal(read)
        found = _own(words, own or {}) or _known(words, _PATTERNS)
        if found is not None:
            return found
    return None


def category_of_name(name: str, own: Mapping[str, str] | None = None) -> str | None:
    """The same of a name in code, where a ``rate`` or a ``scale`` may be anything's."""
    words = normal(name)
    found = _own(words, own or {})
    if found is not None or words in _ANYTHING:
        return found
    return _known(words, _PATTERNS[:-1])


def _own(plain: str, own: Mapping[str, str]) -> str | None:
    for word in sorted(own, key=lambda word: (-len(word), word)):
        wanted = normal(word)
        if wanted and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", plain):
            return own[word]
    return None


def _known(plain: str, patterns: Sequence[re.Pattern[str]]) -> str | None:
    for pattern in patterns:
        match = pattern.search(plain)
        if match is not None:
            return match.lastgroup
    return None
