"""What a ``program.md`` claims of metric, budget, files, memory and rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ratchet.program.contract import Contract
from ratchet.program.finding import Finding, Flaw, quoted
from ratchet.program.sections import Document, Sentence

_FLAGS = re.IGNORECASE
_NOT = re.compile(r"\b(?:not|never|no|cannot|nor|without|neither)\b|n't\b", _FLAGS)

# ---------------------------------------------------------------------- the goal

_METRICS = re.compile(
    r"(?<![\w.])(?:(?:val|valid|validation|test|eval|dev)_[a-z][a-z0-9_]*|accuracy|perplexity"
    r"|bleu|rouge|auc|rmse|mse|f1)(?![\w]|\.\w)",
    _FLAGS,
)
_ABOUT_GOAL = re.compile(
    r"\b(?:goal|metric|minimi[sz]\w+|maximi[sz]\w+|lowest|highest|decides)\b", _FLAGS
)
_DOWN = r"(?:lower|smaller|less)\W+is\W+better|minimi[sz]\w+|\blowest\b"
_UP = r"(?:higher|larger|greater|more)\W+is\W+better|maximi[sz]\w+|\bhighest\b"
_DOWN_VERB = r"\b(?:lower|reduce|decrease)\s+(?:the|its|{metric})"
_UP_VERB = r"\b(?:raise|increase)\s+(?:the|its|{metric})"


def goal(document: Document, contract: Contract, text: str) -> Iterator[Finding]:
    """The metric and its direction, and no other ones."""
    metric = re.compile(rf"(?<![\w.]){re.escape(contract.metric)}(?!\w)", _FLAGS)
    place = document.place("goal")
    write = f"{contract.verb} `{contract.metric}`: {contract.better}."
    if not metric.search(text):
        yield Finding(
            place, Flaw.MISSING, f"the metric `{contract.metric}`", "no word of it", write
        )
    stated = False
    for sentence in _read(document):
        named = bool(metric.search(sentence.text))
        about = sentence.kind == "goal" or sentence.title
        if not named and (about or _ABOUT_GOAL.search(sentence.text)):
            for other in _METRICS.findall(sentence.text)[:1]:
                yield _against(sentence, f"the metric `{contract.metric}`", f"`{other}`", write)
        if not named and not about:
            continue
        down = _says(sentence.text, _DOWN, _DOWN_VERB, contract.metric)
        up = _says(sentence.text, _UP, _UP_VERB, contract.metric)
        right, wrong = (down, up) if contract.lower else (up, down)
        stated |= right is not None
        if wrong is not None:
            yield _against(sentence, contract.better, repr(wrong), write)
    if not stated:
        yield Finding(place, Flaw.MISSING, f"the direction ({contract.better})", "none", write)


def _says(text: str, words: str, verb: str, metric: str) -> str | None:
    """The words of a direction, unless they are denied."""
    pattern = f"{words}|{verb.format(metric=rf'[*_`]*{re.escape(metric)}')}"
    for match in re.finditer(pattern, text, _FLAGS):
        if not _NOT.search(text[max(0, match.start() - 14) : match.start()]):
            return match[0]
    return None


# -------------------------------------------------------------------- the budget

_ABOUT_BUDGET = re.compile(
    r"\b(?:budget|trains?|training|trained|(?:per|each|every) (?:run|experiment)|runs? for)\b",
    _FLAGS,
)
_OTHER_TIME = re.compile(
    r"\b(?:time-?out|timeouts?|kill\w*|exceed\w*|start-?up|warm-?up|evaluation|roughly|takes|took"
    r"|measured|night|per hour|hours? of sleep)\b|~",
    _FLAGS,
)
_DURATION = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)[\s-]*(?:fixed[\s-]*)?(?:CPU|GPU|wall[\s-]?clock|optimi[sz]er"
    r"|training|gradient)?[\s-]*(seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h|steps?)\b",
    _FLAGS,
)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def budget(document: Document, contract: Contract) -> Iterator[Finding]:
    """What a run may spend: the configuration's, and nothing else."""
    write, seen = f"The budget of each run is {contract.budget}.", False
    for sentence in _read(document):
        if not _ABOUT_BUDGET.search(sentence.text) or _OTHER_TIME.search(sentence.text):
            continue
        for match in _DURATION.finditer(sentence.text):
            seen = True
            if not _is_budget(match, contract):
                yield _against(
                    sentence, f"a budget of {contract.budget}", f"{match[0].strip()!r}", write
                )
    if not seen:
        line = document.place("constraints", "fixed", "goal")
        yield Finding(line, Flaw.MISSING, f"the budget of {contract.budget}", "none", write)


def _is_budget(match: re.Match[str], contract: Contract) -> bool:
    amount, unit = float(match[1].replace(",", "")), match[2].lower()
    if unit.startswith("step"):
        return contract.budget_steps is not None and amount == contract.budget_steps
    if contract.budget_seconds is None:
        return False
    seconds = amount * _SECONDS[unit[0]]
    return abs(seconds - contract.budget_seconds) <= 0.01 * contract.budget_seconds


# --------------------------------------------------------------------- the files

_EDIT = r"(?:edit|modify|change|touch|rewrite)"
_MAY = re.compile(
    rf"\b(?:may|can|could|should|free to|allowed to)\s+(?:also\s+)?{_EDIT}|\bmutable\b|\beditable\b"
    rf"|^\W*(?:only\s+)?{_EDIT}\s",
    _FLAGS,
)
_MAY_NOT = re.compile(
    rf"(?:\b(?:not|never|cannot)|n't)\s+(?:to\s+|do\W+)?(?:be\s+)?{_EDIT}|\bread-?only\b"
    r"|\boff[- ]limits\b",
    _FLAGS,
)
_ALL_BUT = re.compile(r"\b(?:only|except|but|other than|nothing else|besides|apart from)\b", _FLAGS)
_ALL_OTHERS = re.compile(
    r"\b(?:everything else|(?:all|any) other files?|nothing else|only files? (?:that )?(?:you|may)"
    r"|(?:edit|modify|change) only|only (?:edit|modify|change))\b",
    _FLAGS,
)


def files(document: Document, contract: Contract, text: str) -> Iterator[Finding]:
    """Which files may be edited: those of the task, each named, and no fixed one."""
    for sentence in _read(document):
        yield from _permitted(sentence, contract)
        yield from _forbidden(sentence, contract)
    mutable = ", ".join(f"`{name}`" for name in contract.mutable)
    if not all(_named(name, text) for name in contract.mutable):
        line, write = document.place("editable", "goal"), f"You may edit {mutable}."
        yield Finding(line, Flaw.MISSING, f"the files to edit ({mutable})", "not all named", write)
    left = [name for name in contract.fixed if not _named(name, text)]
    if left and not _ALL_OTHERS.search(text):
        names = ", ".join(f"`{name}`" for name in left)
        line = document.place("fixed", "constraints")
        write = f"Fixed files, not to be edited: {names}."
        yield Finding(line, Flaw.MISSING, "the fixed files", f"no word of {names}", write)


def _permitted(sentence: Sentence, contract: Contract) -> Iterator[Finding]:
    allows = sentence.kind == "editable" or _MAY.search(sentence.text)
    if not allows or _NOT.search(sentence.said) or _MAY_NOT.search(sentence.said):
        return
    fixed = [name for name in contract.fixed if _named(name, _plain_names(sentence.text))]
    for name in fixed:
        may = ", ".join(f"`{mutable}`" for mutable in contract.mutable)
        yield _against(
            sentence, f"`{name}` to be fixed", quoted(sentence.text), f"You may edit {may}."
        )


def _plain_names(text: str) -> str:
    """The part of a sentence that says what may be edited, before explanations."""
    return re.split(r"\b(?:which|that|since|because|imports?|reads?|uses?|from)\b", text)[0]


def _forbidden(sentence: Sentence, contract: Contract) -> Iterator[Finding]:
    listed = sentence.kind == "fixed" and sentence.item
    if not listed and not _MAY_NOT.search(sentence.said):
        return
    head = re.split(r"[:(]", sentence.text)[0] if listed else sentence.text
    for name in contract.mutable:
        if _named(name, head) and not _ALL_BUT.search(sentence.said):
            write = f"You may edit `{name}`."
            yield _against(sentence, f"`{name}` to be editable", quoted(sentence.text), write)


def _named(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-]|\.\w)", text))


# -------------------------------------------------------------------- the memory

_MEMORY = re.compile(r"\b(?:memory|vram|ram)\b", _FLAGS)
_LIMIT = re.compile(
    r"\b(?:at most|ceiling|limit\w*|no more than|under|below|must (?:fit|stay)|exceed\w*|within"
    r"|less than)\b",
    _FLAGS,
)
_SIZE = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*(GiB|GB|MiB|MB)\b", _FLAGS)
_MEGABYTES = {"mib": 1.0, "mb": 1e6 / 2**20, "gib": 1024.0, "gb": 1e9 / 2**20}
# Between MB and MiB, GB and GiB lie 5 and 7 %, and people mean either by both.
_SAME_SIZE = 0.08


def memory(document: Document, contract: Contract) -> Iterator[Finding]:
    """The memory ceiling: the configuration's, or none."""
    ceiling, seen = contract.ceiling.megabytes, False
    for sentence in _read(document):
        if not _MEMORY.search(sentence.text) or not _LIMIT.search(sentence.text):
            continue
        for match in _SIZE.finditer(sentence.text):
            seen = True
            size = float(match[1].replace(",", "")) * _MEGABYTES[match[2].lower()]
            if ceiling is None:
                write = f"nothing of it, or set memory_ceiling_mb={size:.0f} in the configuration"
                yield _against(sentence, "no memory ceiling (none is set)", repr(match[0]), write)
            elif abs(size - ceiling) > _SAME_SIZE * ceiling:
                write = f"{contract.ceiling.words}."
                yield _against(sentence, f"a ceiling of {ceiling:g} MiB", repr(match[0]), write)
    if ceiling is not None and not seen:
        line = document.place("constraints", "fixed")
        write = f"{contract.ceiling.words}."
        yield Finding(line, Flaw.MISSING, f"the memory ceiling of {ceiling:g} MiB", "none", write)


# --------------------------------------------------------------------- the rules

_PACKAGES = r"(?:packages?|dependenc\w+|librar\w+|modules?)"
_NO_PACKAGES = re.compile(
    rf"\b(?:no|not|never|without|cannot)\b[^.]{{0,50}}\b{_PACKAGES}\b", _FLAGS
)
_ADD_PACKAGES = re.compile(
    rf"\b(?:may|can|free to|allowed to)\b[^.]{{0,30}}\b(?:install|add)\b[^.]{{0,30}}"
    rf"\b{_PACKAGES}\b",
    _FLAGS,
)
_NETWORK = re.compile(
    r"\b(?:may|can|free to|allowed to)\b[^.]{0,30}\b(?:download|use the (?:network|internet))\b",
    _FLAGS,
)
_ONE = re.compile(
    r"\b(?:one|single|1)\b[^.]{0,25}\b(?:change|idea|thing|edit|modification|hypothesis)\b"
    r"|\bone at a time\b",
    _FLAGS,
)
_MANY = re.compile(
    r"\b(?:several|many|multiple|as many)\b[^.]{0,20}\b(?:changes|ideas|edits|things)\b[^.]{0,20}"
    r"\b(?:at once|together|per experiment|in one|in each|each time)\b",
    _FLAGS,
)


def rules(document: Document, contract: Contract) -> Iterator[Finding]:
    """No new packages, no network, one change per experiment; nothing to the contrary."""
    line = document.place("constraints", "fixed")
    read = list(_read(document))
    forbids = _first(read, _NO_PACKAGES)
    one = _first(read, _ONE)
    packages = "No new packages: only what is installed may be imported."
    single = "One meaningful change per experiment, with a hypothesis of why it helps."
    if forbids is None:
        yield Finding(line, Flaw.MISSING, "no new packages", "no word of it", packages)
    if one is None:
        yield Finding(line, Flaw.MISSING, "one change per experiment", "no word of it", single)
    for sentence in read:
        if _NOT.search(sentence.said):
            continue
        if _ADD_PACKAGES.search(sentence.said):
            yield _against(
                sentence, f"no new packages{_at(forbids)}", quoted(sentence.text), packages
            )
        if _MANY.search(sentence.said):
            expected = f"one change per experiment{_at(one)}"
            yield _against(sentence, expected, quoted(sentence.text), single)
        if not contract.network and _NETWORK.search(sentence.said):
            write = "No network, or set `network: true` in the task's task.yaml"
            yield _against(sentence, "no network", quoted(sentence.text), write)


def _first(sentences: Sequence[Sentence], pattern: re.Pattern[str]) -> Sentence | None:
    return next((s for s in sentences if pattern.search(s.said)), None)


def _at(sentence: Sentence | None) -> str:
    return "" if sentence is None else f", as line {sentence.line} says"


# ---------------------------------------------------------------------- together


def _read(document: Document) -> Iterator[Sentence]:
    """All sentences but those of what was tried, which are quoted data."""
    return (sentence for sentence in document.sentences if sentence.kind != "tried")


def _against(sentence: Sentence, expected: str, found: str, write: str) -> Finding:
    return Finding(sentence.line, Flaw.CONTRADICTORY, expected, found, write)
