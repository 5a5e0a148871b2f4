"""Category of a change: by the code that differs first, then by words.

A description says what its author meant, a difference of two versions what was
done, so the code has the first word.  Where it says nothing (no versions at hand,
no Python, names that mean nothing) the description decides, and a change that
neither explains is ``other``.

What is changed counts before what it is changed of: the learning rate of an
embedding is a matter of learning rates.  So words come in tiers; the first tier
that knows any word of the text decides, and within it the word that comes first, as
authors name the thing first and its circumstances later.  For the same reason the
first clause is read before the rest, and what stands in brackets, usually the
author's remark, only if nothing else helps.

Each category also has angles: a few words on something to try, and a pattern that
tells whether a description was about it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ratchet.steering.code_diff import Site, changed_keys, code_differences
from ratchet.task.sources import SETTINGS

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

ENCLOSING = ("optimizer", "embedding", "data")
"""Categories that all code of a function or class has, if its name says so."""

ARCHITECTURE = "architecture"
"""Every layer has norms, weights and dimensions: such names count only where
nothing else is named, as in the middle of an optimizer."""

# What there is to try in each category, the usual first choice first: judgement from public
# sessions of language models.  A task with other categories has none and is served by its
# search space.  Patterns meet normalised text: lower case, underscores and hyphens as spaces.
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


_PATTERNS = tuple(
    re.compile("|".join(f"(?P<{name}>{words})" for name, words in tier.items())) for tier in _TIERS
)


def classify_change(
    description: str,
    old: Mapping[str, str] | None = None,
    new: Mapping[str, str] | None = None,
    own: Mapping[str, str] | None = None,
) -> str:
    """The category of a change; never fails.

    ``old`` and ``new`` map file names to their texts before and after.  ``own``
    maps names and words of a task to its categories, such as
    ``{"EMBED_LR_FACTOR": "embedding", "tiling": "kernels"}``, and comes before
    what is known of language models.
    """
    said = category_of(description, own)
    if old is not None and new is not None:
        done = category_of_code(old, new, own, said)
        if done is not None:
            return done
    return said or OTHER


def category_of_code(
    old: Mapping[str, str],
    new: Mapping[str, str],
    own: Mapping[str, str] | None = None,
    hint: str | None = None,
) -> str | None:
    """The category of most places where texts of Python, YAML or JSON differ.

    Each place has one vote, which goes by the nearest name that means something.
    Of categories with equally many votes ``hint`` wins if it is one of them, else
    the one that comes first in the files.  ``None`` if no name means anything.
    """
    votes: Counter[str] = Counter()
    for name in sorted({*old, *new}):
        for site in _sites(name, old.get(name, ""), new.get(name, "")):
            votes.update(_vote(site, own))
    if not votes:
        return None
    most = max(votes.values())
    first = [category for category, count in votes.items() if count == most]
    return hint if hint in first else first[0]


def _sites(name: str, old: str, new: str) -> Sequence[Site]:
    """The places where two versions of a file differ, if its kind is known."""
    if name.endswith(SETTINGS):
        return [Site(words, around) for words, around in changed_keys(old, new)]
    differences = code_differences(old, new) if name.endswith(".py") else None
    return differences.sites if differences is not None else ()


def _vote(site: Site, own: Mapping[str, str] | None) -> list[str]:
    """The category of one place, if any name tells."""

    def known(names: tuple[str, ...]) -> list[str]:
        categories = (category_of_name(name, own) for name in names)
        return [category for category in categories if category is not None]

    differs, outer = known(site.words), known(site.around)
    telling = [category for category in differs if category != ARCHITECTURE]
    special = [category for category in outer if category in ENCLOSING]
    # A step of an optimizer is none of the architecture, whatever it computes.
    nearest = telling or special or differs or known(site.calls) or outer
    return (nearest or known(site.beside))[:1]


def untried_angles(category: str, descriptions: Iterable[str]) -> list[str]:
    """Angles of a category that none of the descriptions is about."""
    said = [normal_words(text) for text in descriptions]
    return [
        angle
        for angle, pattern in ANGLES.get(category, ())
        if not any(re.search(pattern, text) for text in said)
    ]


def normal_words(text: str) -> str:
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
        words = normal_words(read)
        category = _own(words, own or {}) or _known(words, _PATTERNS)
        if category is not None:
            return category
    return None


def category_of_name(name: str, own: Mapping[str, str] | None = None) -> str | None:
    """The category of a name in code, where a ``rate`` or a ``scale`` may be anything's."""
    words = normal_words(name)
    category = _own(words, own or {})
    if category is not None or words in _ANYTHING:
        return category
    return _known(words, _PATTERNS[:-1])


def _own(plain: str, own: Mapping[str, str]) -> str | None:
    for word in sorted(own, key=lambda word: (-len(word), word)):
        wanted = normal_words(word)
        if wanted and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", plain):
            return own[word]
    return None


def _known(plain: str, patterns: Sequence[re.Pattern[str]]) -> str | None:
    for pattern in patterns:
        match = pattern.search(plain)
        if match is not None:
            return match.lastgroup
    return None
