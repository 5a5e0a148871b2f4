"""How runs end: what was measured, what the log shows, and real logs where at hand."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import SHARED
from ratchet.base.structs import replace, to_json_values
from ratchet.logs.reader import read_run
from ratchet.records.records import Outcome, PrefixScores
from ratchet.records.store import LOG, LOG_ASKED, RunRecord
from ratchet.runs.log import failure_evidence
from ratchet.runs.outcome import (
    ASKED,
    OutcomeEvidence,
    RunEnding,
    classify_outcome,
    run_record,
    verify_evaluation,
)
from ratchet.runs.sandbox.sandbox import SandboxKind
from ratchet.runs.spec import RunSpec

CORPUS = SHARED / "corpus"
DONE = "step 9 | loss 3.1\n---\nval: 0.5\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n'
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 256.00 MiB. GPU 0 has"


def ended(value: float | None, log: str = DONE, code: int = 0, **known: Any) -> OutcomeEvidence:
    """The class of a run with or without a printed metric."""
    metrics = {} if value is None else {"val": value}
    return classify_outcome(RunEnding("val", metrics, log, code, **known))


def failed(log: str, code: int = 1, **known: Any) -> OutcomeEvidence:
    return ended(None, log, code, **known)


def killed(log: str, peak: float | None, limit: float | None) -> OutcomeEvidence:
    return failed(log, -9, peak_memory_mb=peak, memory_limit_mb=limit)


def raised(line: str, frame: str = "") -> str:
    return f"{TRACEBACK}{frame}    loss.backward()\n{line}\n"


NOISE = raised("ValueError: caught") + "CUDA out of memory, smaller batch\n" + DONE
BUSY = {"contended": "process 12 on the same GPU"}
SEGFAULT = "Fatal Python error: Segmentation fault"
STOPPED = "stopped after 600 s of wall-clock time"
KEY = "KeyError: 'x'"


@pytest.mark.parametrize(
    ("found", "outcome", "sentence"),
    [
        (ended(0.5, NOISE), Outcome.OK, ""),
        *(
            (ended(v), Outcome.DIVERGED, f"printed val: {v}")
            for v in (math.nan, math.inf, -math.inf)
        ),
        (ended(0.1, raised(CUDA), tampered="prepare.py", **BUSY), Outcome.TAMPERED, "prepare.py"),
        (failed(raised(CUDA), -15, timed_out_seconds=600.0), Outcome.TIMEOUT, STOPPED),
        (failed("", -9), Outcome.KILLED, None),
        (failed("", 137), Outcome.KILLED, None),
        (failed("", 139), Outcome.CRASH, "died of signal 11 (SIGSEGV)"),
        (failed(f"{SEGFAULT}\n", -11), Outcome.CRASH, f"died of signal 11 (SIGSEGV): {SEGFAULT}"),
        (failed("", -63), Outcome.CRASH, "died of signal 63 (unknown)"),
        (failed("anything", 124), Outcome.TIMEOUT, None),
        (ended(0.5, **BUSY), Outcome.CONTENDED, "shared its device: process 12 on the same GPU"),
        (failed(raised(CUDA), **BUSY), Outcome.CONTENDED, None),
        (failed(raised("KeyError: 'x'"), **BUSY), Outcome.CRASH, None),
        (failed("contended: process 12 on the same GPU\n"), Outcome.CRASH, None),
        (failed("", 3), Outcome.CRASH, "exit status 3"),
        (failed("it failed here\nbye\n", 2), Outcome.CRASH, "exit status 2: it failed here"),
        (failed("last words\n\n", 2), Outcome.CRASH, "exit status 2: last words"),
        (failed(raised("ValueError: no")), Outcome.CRASH, "exit status 1: ValueError: no"),
        (failed("all done\n", 0), Outcome.NO_METRIC, "ended without printing val"),
        (failed(raised(KEY) + "bye\n", 0), Outcome.NO_METRIC, f"ended without printing val: {KEY}"),
        (failed(raised(CUDA) + "giving up\n", 0), Outcome.OOM_DEVICE, None),
        (failed("", 0), Outcome.NO_METRIC, None),
        (killed("step 5\n", 7900.0, 8000.0), Outcome.OOM_HOST, None),
        (killed("step 5\n", 4000.0, 8000.0), Outcome.KILLED, None),
        (killed("step 5\n", None, 8000.0), Outcome.KILLED, None),
        (killed("step 5\n", 7900.0, None), Outcome.KILLED, None),
        (killed("Evaluating\n", 8.0, 8.0), Outcome.OOM_EVALUATION, None),
    ],
)
def test_what_was_seen_of_a_run(found, outcome, sentence) -> None:
    assert found.outcome is outcome
    assert sentence is None or found.sentence == sentence


FULL = f"{CUDA} 1.00 GiB is free. "
MINE, THEIRS = (
    "this process has 18.00 GiB memory in use. ",
    "Process 7 has 60.00 GiB memory in use. ",
)
OWN = {"own": ["/store/run-1/work", "/tmp"]}


@pytest.mark.parametrize(
    ("found", "blamed"),
    [
        (failed("", -15, timed_out_seconds=600.0), "a time limit"),
        (failed("step 1\n", 124), "a time limit"),
        (ended(0.5, **BUSY), "other programs on its device"),
        (failed(raised(FULL + THEIRS + MINE)), "other programs that held memory"),
        (failed(raised(FULL + MINE)), ""),
        (failed(raised(CUDA)), ""),
        (failed("", -9), "a signal"),
        (failed("", -9, outside="the machine ran out of memory"), "the machine ran out of memory"),
        (failed("", -15), "a signal"),
        (failed("", -11), ""),
        (killed("step 5\n", 7900.0, 8000.0), ""),
        (failed(raised("RuntimeError: Found no NVIDIA driver on your system.")), "the GPU"),
        (failed("Failed to initialize NVML: Driver/library version mismatch\n"), "the GPU"),
        (
            failed(raised("RuntimeError: CUDA error: uncorrectable ECC error encountered")),
            "the GPU",
        ),
        (failed("UserWarning: Found no NVIDIA driver\n" + raised(KEY)), ""),
        (failed(raised("RuntimeError: CUDA error: an illegal memory access was encountered")), ""),
        (failed(raised("OSError: [Errno 28] No space left on device")), "a disk"),
        (
            failed(raised("FileNotFoundError: [Errno 2] No such file or directory: '/data/x'")),
            "a missing file",
        ),
        (failed(raised("FileNotFoundError: [Errno 2] No such file or directory: 'x'")), ""),
        *(
            (
                failed(
                    raised(f"FileNotFoundError: [Errno 2] No such file or directory: '{p}'"), **OWN
                ),
                "",
            )
            for p in ("/store/run-1/work/x.npy", "/tmp/x")
        ),
        (
            failed(
                raised("ImportError: libmkl.so.1: cannot open shared object file: No such file")
            ),
            "a missing file",
        ),
        (failed(raised("ModuleNotFoundError: No module named 'einops'")), ""),
        (failed(raised("AssertionError: no space for it")), ""),
        (failed(raised(KEY)), ""),
        (ended(math.nan), ""),
        (failed("", 0), ""),
        (ended(0.1, tampered="prepare.py", **BUSY), ""),
        (ended(0.5), ""),
    ],
)
def test_what_the_machine_may_be_to_blame_for(found: OutcomeEvidence, blamed: str) -> None:
    assert found.machine.startswith(blamed)
    assert bool(found.machine) == bool(blamed)


def test_a_runs_own_limit_counts_where_it_was_enforced(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("step 5\n")
    spec = replace(SPEC, limits={"memory_mb": 100})
    whole = {"code": -9, "timed_out": False, "changed": None}

    def outcome(**answer: object) -> Outcome:
        record = run_record(spec, tmp_path, {**whole, **answer}, SandboxKind.NONE)
        assert bool(record.machine) is (record.outcome is Outcome.KILLED)
        assert ("machine" in to_json_values(record)) is bool(record.machine)
        return record.outcome

    assert outcome(out_of_memory=True, unenforced=[]) is Outcome.OOM_HOST
    assert outcome(peak_rss_mb=99.0, unenforced=[]) is Outcome.OOM_HOST
    assert outcome(peak_rss_mb=99.0, unenforced=["memory_mb"]) is Outcome.KILLED
    assert outcome(peak_rss_mb=99.0) is Outcome.KILLED


SHOWN = [
    (CUDA, Outcome.OOM_DEVICE),
    ("[rank0]: torch.cuda.OutOfMemoryError: CUDA out of memory.", Outcome.OOM_DEVICE),
    ("RuntimeError: CUDA error: out of memory", Outcome.OOM_DEVICE),
    ("RuntimeError: MPS backend out of memory (MPS allocated: 18 GB)", Outcome.OOM_DEVICE),
    ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", Outcome.OOM_DEVICE),
    ("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory", Outcome.OOM_DEVICE),
    ("MemoryError", Outcome.OOM_HOST),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8. GiB", Outcome.OOM_HOST),
    ("RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory", Outcome.OOM_HOST),
    ("OSError: [Errno 12] Cannot allocate memory", Outcome.OOM_HOST),
    ("terminate called after throwing an instance of 'std::bad_alloc'", Outcome.OOM_HOST),
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0", Outcome.OOM_HOST),
    ("ModuleNotFoundError: No module named 'flash_attn'", Outcome.IMPORT_ERROR),
    ("ImportError: cannot import name 'nan' from 'math'", Outcome.IMPORT_ERROR),
    ("SyntaxError: '(' was never closed", Outcome.IMPORT_ERROR),
    ("IndentationError: unexpected indent", Outcome.IMPORT_ERROR),
    ("AssertionError", Outcome.ASSERTION),
    ("AssertionError: head_dim must be even", Outcome.ASSERTION),
    ("RuntimeError: CUDA error: device-side assert triggered", Outcome.ASSERTION),
    ("ValueError: loss is NaN at step 31", Outcome.DIVERGED),
    ("RuntimeError: Function 'MulBackward0' returned nan values", Outcome.DIVERGED),
    ("AssertionError: loss is nan", Outcome.DIVERGED),
    ("FloatingPointError: overflow encountered in exp", Outcome.DIVERGED),
    ("step 31 | train_loss: nan | dt: 12ms", Outcome.DIVERGED),
    ("FAIL", Outcome.DIVERGED),
    ("subprocess.TimeoutExpired: Command 'x' timed out after 600 seconds", Outcome.TIMEOUT),
    ("JOB 12 CANCELLED DUE TO TIME LIMIT", Outcome.TIMEOUT),
    ("KeyboardInterrupt", Outcome.KILLED),
    ("RuntimeError: DataLoader worker (pid 5) is killed by signal: Killed.", Outcome.KILLED),
    ("ValueError: shapes (2,3) and (4,5) not aligned", Outcome.CRASH),
    ("NameError: name 'nan' is not defined", Outcome.CRASH),
    ("KeyError: 'nan'", Outcome.CRASH),
    ("torch._dynamo.exc.Unsupported: nan", Outcome.CRASH),
    ("Segmentation fault (core dumped)", Outcome.CRASH),
]


@pytest.mark.parametrize(("line", "outcome"), SHOWN, ids=[line[:40] for line, _ in SHOWN])
def test_the_last_error_decides(line: str, outcome: Outcome) -> None:
    log = "warming up\n" + raised("KeyError: 'handled'") + "step 1 | loss 9.0\n" + raised(line)
    found = failed(log)
    assert found.outcome is outcome
    assert line.startswith(("torch._dynamo", "[")) or found.evidence in line
    assert found.reason


AT_EVALUATION = [
    raised(CUDA, '  File "prepare.py", line 400, in evaluate_bpb\n'),
    raised(CUDA, "    val_bpb = evaluate_bpb(model, tokenizer, 128)\n"),
    raised("MemoryError", '  File "train.py", line 7, in run_validation\n'),
    "step 99\nFinal evaluation ...\n" + raised(CUDA),
    "step 99\nRunning evaluation\nCUDA error: out of memory\n",
]

# Frames of a compiler and words that are no evaluation.
ELSEWHERE = [
    raised(CUDA, '  File "torch/_dynamo/eval_frame.py", line 832, in compile_wrapper\n'),
    raised(CUDA, '  File "symbolic_shapes.py", line 7, in evaluate_expr\n'),
    raised(CUDA, "    concrete = self.evaluate_expr(node)\n"),
    raised(CUDA, "    model.eval()\n"),
    "step 9\nvalidation loss 3.2\nstep 10\nevaluate: 3.1\nstep 11\n" + raised(CUDA),
]


@pytest.mark.parametrize("log", AT_EVALUATION + ELSEWHERE)
def test_out_of_memory_at_evaluation_is_told_apart(log: str) -> None:
    found = failed(log)
    evaluating = log in AT_EVALUATION
    assert found.outcome is (Outcome.OOM_EVALUATION if evaluating else Outcome.OOM_DEVICE)
    assert ("evaluation" in found.reason) == evaluating


LAUNCHER = raised("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")
HANDLING = "\nDuring handling of the above exception, another exception occurred:\n\n"
CLEANUP = HANDLING + raised("RuntimeError: cannot save")


@pytest.mark.parametrize(
    ("log", "evidence"),
    [
        (raised(CUDA) + LAUNCHER, CUDA),
        (raised(KEY) + LAUNCHER, KEY),
        (LAUNCHER, LAUNCHER.splitlines()[-1].strip()),
        (raised(CUDA) + CLEANUP, CUDA),
        (raised(KEY) + CLEANUP, "RuntimeError: cannot save"),
        (raised(CUDA) + raised("RuntimeError: later"), "RuntimeError: later"),
        (TRACEBACK + "ValueError: shapes (2,3)\nbye\n", "ValueError: shapes (2,3)"),
        ("Segmentation fault (core dumped)\n", "Segmentation fault (core dumped)"),
        ("last words\n\n", "last words"),
        ("", ""),
        ("RuntimeError: " + "x" * 9999, "RuntimeError: " + "x" * 185 + "…"),
        ("RuntimeError: a\x1b[2Jb\u202ec\x07d\n", "RuntimeError: abc d"),
    ],
)
def test_evidence_is_the_cause_not_what_comes_after_it(log: str, evidence: str) -> None:
    assert failed(log).evidence == failure_evidence(log) == evidence


HOSTILE = [
    "a" * (1 << 20),
    "a." * (1 << 19),
    "Error" * (1 << 18),
    "ErrorException: " * (1 << 16),
    "nan loss " * (1 << 16),
    "\x1b[" * (1 << 19),
    "\x1b]" * (1 << 19),
    "CUDA " * (1 << 18),
    (": Assertion " + "x" * 190) * 5000,
    "loss\n" * (1 << 16),
    "x.SystemExit: 1\n" * (1 << 16),
    ("x.SystemExit: 1\n" + "Traceback \n" * 150) * 400,
    ("\n".join(["x"] * 199) + "\nSystemExit\n") * 400,
    "[" * (1 << 20),
    "evaluate" * (1 << 17),
]


@pytest.mark.parametrize("log", HOSTILE, ids=range(len(HOSTILE)))
def test_no_log_takes_long(log: str) -> None:
    """A quadratic pattern would take hours here, and the time limit of tests ends it."""
    assert failed(log).outcome is not Outcome.OK


@given(st.text(), st.sampled_from([-9, 0, 1, 137]))
def test_no_text_breaks_or_passes(text: str, code: int) -> None:
    found = failed(text, code)
    assert found.outcome is not Outcome.OK
    assert found.outcome not in (Outcome.TAMPERED, Outcome.CONTENDED)
    assert len(found.evidence) <= 200
    assert "\n" not in found.sentence


# Metric of the logs that do not print the usual one.
METRICS = {
    "karpathy__autoresearch__26.log": "score",
    "muhammad-zainal-muttaqin__autoresearch__1.log": "mAP50",
    "muhammad-zainal-muttaqin__autoresearch__2.log": "mAP50-95",
}

TAGS = {"oom": Outcome.OOM_DEVICE, "timeout": Outcome.TIMEOUT, "traceback": Outcome.CRASH}


def expected(tags: list[str]) -> Outcome:
    """The class that the tags of a real log name."""
    return next((outcome for tag, outcome in TAGS.items() if tag in tags), Outcome.OK)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared logs are not at hand")
def test_real_logs_are_what_their_tags_say() -> None:
    with (CORPUS / "runlogs.tsv").open(newline="", encoding="utf-8") as file:
        entries = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(entries) == 15
    found = {}
    for entry in entries:
        metric = METRICS.get(entry["file"], "val_bpb")
        data = (CORPUS / "runlogs" / entry["file"]).read_bytes()
        run = read_run(data, entry["file"], metric)
        metrics = dict(run.metrics) | ({} if run.value is None else {metric: run.value})
        text = data.decode("utf-8", errors="replace")
        # Karpathy's loop stops a run that takes too long, as the program `timeout` does.
        codes = {Outcome.OK: 0, Outcome.TIMEOUT: 124}
        code = codes.get(expected(entry["tags"].split()), 1)
        found[entry["file"]] = classify_outcome(RunEnding(metric, metrics, text, code))
    said = {name: finding.outcome for name, finding in found.items()}
    assert said == {entry["file"]: expected(entry["tags"].split()) for entry in entries}
    oom = found["karpathy__autoresearch__4.log"].evidence
    assert oom.startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")
    last = found["karpathy__autoresearch__10.log"].evidence
    assert last.startswith("UnboundLocalError: cannot access local variable")
    text = (CORPUS / "runlogs" / "karpathy__autoresearch__2.log").read_text()
    assert classify_outcome(RunEnding("Sharpe", {"Sharpe": -0.3616}, text, 0)).outcome is Outcome.OK
    harmless = classify_outcome(RunEnding("val_bpb", {}, text, 0))
    assert harmless.outcome is Outcome.NO_METRIC
    assert harmless.evidence == "ValueError: unsupported hash type blake2s"


SPEC = RunSpec((), {}, {}, {}, 1, 3.0, None, 20.0, 1, "val")


ANSWER = {
    "ready": True,
    "asked": {"cpu_seconds": 3.1, "wall_seconds": 3.3},
    "answered": {"cpu_seconds": 3.2, "wall_seconds": 3.5},
    "result": {"value": 2.5, "tokens": 9, "batches": 40, "seconds": 0.2, "reply_seconds": 0.004},
    "failed": None,
    "exit_code": 0,
}


@pytest.mark.parametrize(
    ("printed", "value", "agree"),
    [
        (2.5, 2.5, True),
        (2.50024, 2.5, True),
        (2.5003, 2.5, False),
        (float("nan"), None, True),
        (2.5, None, False),
        (float("nan"), 2.5, False),
        (float("inf"), 2.5, False),
    ],
)
def test_printed_against_measured(printed: float, value: float | None, agree: bool) -> None:
    answer = {**ANSWER, "result": {**ANSWER["result"], "value": value}}
    evaluation, tampered = verify_evaluation(SPEC, answer, {"val": printed})
    assert (tampered is None) == agree
    assert evaluation.value == value


def test_scores_of_prefixes_are_kept_where_there_are_some() -> None:
    said = {"whole": 2.5, "groups": 4.0, "cut": [2.4, 2.7]}
    result = {**ANSWER["result"], "prefixes": said, "audit": {"value": 2.6, "prefixes": None}}
    evaluation, tampered = verify_evaluation(SPEC, {**ANSWER, "result": result}, {"val": 2.5})
    assert tampered is None
    assert evaluation.prefixes == PrefixScores(2.5, 4.0, (2.4, 2.7))
    assert evaluation.audit == 2.6 and evaluation.audit_prefixes is None


def test_a_run_that_prints_nothing_is_not_judged() -> None:
    assert verify_evaluation(SPEC, {"asked": None}, {}) == (None, None)
    unasked = verify_evaluation(SPEC, {"asked": None}, {"val": 2.5})
    assert unasked == (None, "printed val without an evaluation")
    assert verify_evaluation(SPEC, None, {}) == (None, None)


def kept(folder: Path, log: str, asked: str | None, code: int = 0) -> RunRecord:
    """The record of a run with this output before and after it was asked."""
    (folder / LOG).write_text(log)
    if asked is not None:
        (folder / LOG_ASKED).write_text(asked)
    answer = {"code": code, "timed_out": False, "changed": None, "evaluation": ANSWER}
    spec = replace(SPEC, evaluator=["python"], names=("mem",), counted=("mem",))
    return run_record(spec, folder, answer, SandboxKind.NONE)


PYTEST = "F\nE   assert 1 == 2\nFAILED smoke.py::test_a - assert 1 == 2\n1 failed in 0.01s\n"


@pytest.mark.parametrize(
    ("log", "answer", "outcome", "reason"),
    [
        (raised(CUDA), {"code": 0}, Outcome.OK, ""),
        (PYTEST, {"code": 1}, Outcome.GUARD_FAILED, "1: FAILED smoke.py::test_a - assert 1 == 2"),
        ("no\n", {"code": 3}, Outcome.GUARD_FAILED, "exit status 3: no"),
        ("", {"code": -11}, Outcome.GUARD_FAILED, "died of signal 11 (SIGSEGV)"),
        ("", {"code": 0, "timed_out": True}, Outcome.GUARD_FAILED, "stopped after 600 s"),
        ("", {"code": 0, "changed": "smoke.py"}, Outcome.TAMPERED, "the fixed file smoke.py"),
    ],
)
def test_a_guard_passes_by_its_exit_status(
    tmp_path: Path, log: str, answer: dict[str, object], outcome: Outcome, reason: str
) -> None:
    (tmp_path / LOG).write_text(log)
    whole = {"timed_out": False, "changed": None, **answer}
    spec = replace(SPEC, guard=True, metric="", timeout_seconds=600.0)
    record = run_record(spec, tmp_path, whole, SandboxKind.NONE)
    assert record.outcome is outcome
    assert reason in record.reason


def test_few_numbers_of_few_digits_come_out_of_an_evaluation(tmp_path: Path) -> None:
    secret = 1234567.890123
    asked = f"---\nval: 2.5\nmem: {secret}\nwindow_1: {secret}\nnum_steps: 70\n"
    record = kept(tmp_path, "step 1\n", asked)
    assert record.outcome is Outcome.OK
    assert record.metrics == {"val": 2.5, "mem": 1234570.0, "num_steps": 70.0}
    shown = (tmp_path / LOG).read_text()
    assert shown == "step 1\n---\nval: 2.5\nmem: 1234570\nnum_steps: 70\n"


def test_what_failed_after_the_first_question_is_told_and_not_quoted(tmp_path: Path) -> None:
    record = kept(tmp_path, "step 1\n", raised("MemoryError: the window was abc"), code=1)
    assert record.outcome is Outcome.OOM_HOST
    assert record.reason == f"ran out of memory of the host, {ASKED}"
    record = kept(tmp_path, "step 1\n", raised("KeyError: 'abc'"), code=1)
    assert (record.outcome, record.reason) == (Outcome.CRASH, f"exit status 1, {ASKED}")
    before = kept(tmp_path, raised("KeyError: 'abc'"), "", code=1)
    assert before.reason == "exit status 1: KeyError: 'abc'"


@pytest.mark.parametrize("printed", ["-1e9", "-0.001", "nan", "inf", "1e12"])
def test_a_number_that_cannot_be_is_not_printed(tmp_path: Path, printed: str) -> None:
    line = f"mem: {printed}\nnum_steps: {printed}\nother: -1\n"
    record = kept(tmp_path, f"---\nval: 2.5\n{line}", None)
    assert record.outcome is Outcome.OK
    assert record.metrics == {"val": 2.5, "other": -1.0}
    value = f"{float(printed):g}"
    assert record.impossible == (f"mem {value}", f"num_steps {value}")
