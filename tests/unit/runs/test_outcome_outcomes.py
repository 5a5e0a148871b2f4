"""How runs end: what the harness saw, what the log shows, and real logs where at hand."""

from __future__ import annotations

import csv
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import SHARED
from ratchet.logs.reader import read_run
from ratchet.records.records import Outcome
from ratchet.runs.log import failure_evidence
from ratchet.runs.outcome import OutcomeEvidence, RunEnding, classify_outcome

CORPUS = SHARED / "corpus"
DONE = "step 9 | loss 3.1\n---\nval: 0.5\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n'
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 256.00 MiB. GPU 0 has"


def failed(log: str, code: int = 1, **known: object) -> OutcomeEvidence:
    return classify_outcome(RunEnding("val", log=log, code=code, **known))  # type: ignore[arg-type]


def raised(line: str, frame: str = "", before: str = "") -> str:
    return f"{before}{TRACEBACK}{frame}    loss.backward()\n{line}\n"


# --- what the harness saw comes before the log -----------------------------------------


def test_a_finite_metric_and_a_good_end_is_ok_whatever_else_was_printed() -> None:
    log = raised("ValueError: caught") + "CUDA out of memory, smaller batch\n" + DONE
    assert classify_outcome(RunEnding("val", {"val": 0.5}, log, 0)) == OutcomeEvidence(
        Outcome.OK, ""
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number(value: float) -> None:
    found = classify_outcome(RunEnding("val", {"val": value}, DONE, 0))
    assert (found.outcome, found.reason) == (Outcome.NAN, f"printed val: {value}")


def test_a_changed_file_counts_before_everything() -> None:
    found = classify_outcome(
        RunEnding("val", {"val": 0.1}, raised(CUDA), 0, tampered="prepare.py", contended="another")
    )
    assert found.outcome is Outcome.TAMPERED
    assert "prepare.py" in found.reason


def test_the_harness_time_limit_counts_before_the_log() -> None:
    found = failed(raised(CUDA), -15, timed_out_seconds=600.0)
    assert found == OutcomeEvidence(Outcome.TIMEOUT, "stopped after 600 s of wall-clock time")


def test_signals() -> None:
    assert failed("", -9).outcome is Outcome.KILLED
    assert failed("", 137).outcome is Outcome.KILLED
    assert "SIGSEGV" in failed("", 139).reason
    found = failed("Fatal Python error: Segmentation fault\n", -11)
    assert found.outcome is Outcome.CRASH
    assert found.sentence == ("died of signal 11 (SIGSEGV): Fatal Python error: Segmentation fault")
    assert "unknown" in failed("", -63).reason
    assert failed("anything", 124).outcome is Outcome.TIMEOUT


@pytest.mark.parametrize(
    ("peak", "limit", "outcome"),
    [
        (7900.0, 8000.0, Outcome.OOM_HOST),
        (4000.0, 8000.0, Outcome.KILLED),
        (None, 8000.0, Outcome.KILLED),
        (7900.0, None, Outcome.KILLED),
    ],
)
def test_a_kill_at_the_memory_limit_is_for_memory(
    peak: float | None, limit: float | None, outcome: Outcome
) -> None:
    found = failed("step 5\n", -9, peak_memory_mb=peak, memory_limit_mb=limit)
    assert found.outcome is outcome
    late = failed("Evaluating\n", -9, peak_memory_mb=8.0, memory_limit_mb=8.0)
    assert late.outcome is Outcome.OOM_EVALUATION


def test_contended_is_set_by_the_harness_alone() -> None:
    busy = {"contended": "process 12 on the same GPU"}
    for ending in (
        RunEnding("val", {"val": 0.5}, DONE, 0, **busy),  # type: ignore[arg-type]
        RunEnding("val", {}, raised(CUDA), 1, **busy),  # type: ignore[arg-type]
    ):
        found = classify_outcome(ending)
        assert found.outcome is Outcome.CONTENDED
        assert "process 12" in found.reason
    assert failed(raised("KeyError: 'x'"), 1, **busy).outcome is Outcome.CRASH
    assert failed("contended: process 12 on the same GPU\n").outcome is Outcome.CRASH


# --- what the log shows -----------------------------------------------------------------

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
    ("ValueError: loss is NaN at step 31", Outcome.NAN),
    ("RuntimeError: Function 'MulBackward0' returned nan values", Outcome.NAN),
    ("AssertionError: loss is nan", Outcome.NAN),
    ("FloatingPointError: overflow encountered in exp", Outcome.NAN),
    ("step 31 | train_loss: nan | dt: 12ms", Outcome.NAN),
    ("FAIL", Outcome.NAN),
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
    shown = line.startswith(("torch._dynamo", "[")) or found.evidence in line
    assert shown
    assert found.reason


def test_an_error_without_words_is_still_a_crash() -> None:
    assert failed("", 3) == OutcomeEvidence(Outcome.CRASH, "exit status 3")
    found = failed("fitting\nit failed here\nbye\n", 2)
    assert found.sentence == "exit status 2: it failed here"
    assert failed("last words\n\n", 2).evidence == "last words"
    assert failed(raised("ValueError: no")).sentence == "exit status 1: ValueError: no"


AT_EVALUATION = [
    raised(CUDA, '  File "prepare.py", line 400, in evaluate_bpb\n'),
    raised(CUDA, "    val_bpb = evaluate_bpb(model, tokenizer, 128)\n"),
    raised("MemoryError", '  File "train.py", line 7, in run_validation\n'),
    "step 99\nFinal evaluation ...\n" + raised(CUDA),
    "step 99\nRunning evaluation\nCUDA error: out of memory\n",
]


@pytest.mark.parametrize("log", AT_EVALUATION)
def test_out_of_memory_at_evaluation_is_told_apart(log: str) -> None:
    found = failed(log)
    assert found.outcome is Outcome.OOM_EVALUATION
    assert "evaluation" in found.reason


@pytest.mark.parametrize(
    "frame",
    [
        '  File "torch/_dynamo/eval_frame.py", line 832, in compile_wrapper\n',
        '  File "symbolic_shapes.py", line 7, in evaluate_expr\n',
        "    concrete = self.evaluate_expr(node)\n",
        "    model.eval()\n",
    ],
)
def test_a_compilers_frames_are_no_evaluation(frame: str) -> None:
    assert failed(raised(CUDA, frame)).outcome is Outcome.OOM_DEVICE
    log = "step 9\nvalidation loss 3.2\nstep 10\nevaluate: 3.1\nstep 11\n" + raised(CUDA)
    assert failed(log).outcome is Outcome.OOM_DEVICE


def test_what_passes_on_an_error_stands_for_it() -> None:
    launcher = raised("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")
    assert failed(raised(CUDA) + launcher).outcome is Outcome.OOM_DEVICE
    assert failed(raised("KeyError: 'x'") + launcher).evidence == "KeyError: 'x'"
    assert failed(launcher).outcome is Outcome.CRASH
    handling = "\nDuring handling of the above exception, another exception occurred:\n\n"
    cleanup = handling + raised("RuntimeError: cannot save")
    assert failed(raised(CUDA) + cleanup).outcome is Outcome.OOM_DEVICE
    assert failed(raised("KeyError: 'x'") + cleanup).evidence == "RuntimeError: cannot save"
    assert failed(raised(CUDA) + raised("RuntimeError: later")).outcome is Outcome.CRASH


def test_ended_well_without_the_metric() -> None:
    assert failed("all done\n", 0) == OutcomeEvidence(
        Outcome.NO_METRIC, "ended without printing val"
    )
    found = failed(raised("KeyError: 'x'") + "bye\n", 0)
    assert (found.outcome, found.evidence) == (Outcome.NO_METRIC, "KeyError: 'x'")
    assert failed(raised(CUDA) + "giving up\n", 0).outcome is Outcome.OOM_DEVICE
    assert failed("", 0).outcome is Outcome.NO_METRIC


# --- hostile logs -----------------------------------------------------------------------


def test_evidence_is_the_error_not_the_noise_after_it() -> None:
    log = TRACEBACK + "ValueError: shapes (2,3)\nbye\n"
    assert failure_evidence(log) == "ValueError: shapes (2,3)"
    assert failure_evidence("torch.OutOfMemoryError: CUDA out of memory.\n").startswith(
        "torch.OutOf"
    )
    assert (
        failure_evidence("Segmentation fault (core dumped)\n") == "Segmentation fault (core dumped)"
    )
    assert failure_evidence("last words\n\n") == "last words"
    assert failure_evidence("") == ""
    assert len(failure_evidence("RuntimeError: " + "x" * 9999)) == 200


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_terminal_tricks_hide_nothing(end: str) -> None:
    plain = raised("ModuleNotFoundError: No module named 'x'").replace("\n", end)
    coloured = plain.replace("Module", "\x1b[1;31mModule\x1b[0m\x1b]0;title\x07")
    for log in (plain, coloured, "\ufeff" + plain, "90%\r99%\r" + plain):
        assert failed(log).outcome is Outcome.IMPORT_ERROR
    wide = plain.encode("utf-16").decode("utf-8", errors="replace")
    assert failed(wide).evidence.endswith("No module named 'x'")
    found = failed("RuntimeError: a\x1b[2Jb\u202ec\x07d\n")
    assert found.evidence == "RuntimeError: abc d"


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
    "loss\n" * (1 << 18),
    "x.SystemExit: 1\n" * (1 << 16),
    ("x.SystemExit: 1\n" + "Traceback \n" * 150) * 600,
    ("\n".join(["x"] * 199) + "\nSystemExit\n") * 1200,
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


# --- real logs --------------------------------------------------------------------------

# Metric of the logs that do not print the usual one.
METRICS = {
    "karpathy__autoresearch__26.log": "score",
    "muhammad-zainal-muttaqin__autoresearch__1.log": "mAP50",
    "muhammad-zainal-muttaqin__autoresearch__2.log": "mAP50-95",
}


def expected(tags: list[str]) -> Outcome:
    """The class that the tags of a real log name."""
    for tag, outcome in (
        ("oom", Outcome.OOM_DEVICE),
        ("timeout", Outcome.TIMEOUT),
        ("traceback", Outcome.CRASH),
    ):
        if tag in tags:
            return outcome
    return Outcome.OK


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
    oom = found["karpathy__autoresearch__4.log"]
    assert oom.evidence.startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")
    last = found["karpathy__autoresearch__10.log"].evidence
    assert last.startswith("UnboundLocalError: cannot access local variable")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared logs are not at hand")
def test_a_real_log_with_harmless_tracebacks_is_ok_if_its_run_ended_well() -> None:
    text = (CORPUS / "runlogs" / "karpathy__autoresearch__2.log").read_text()
    assert classify_outcome(RunEnding("Sharpe", {"Sharpe": -0.3616}, text, 0)).outcome is Outcome.OK
    found = classify_outcome(RunEnding("val_bpb", {}, text, 0))
    assert found.outcome is Outcome.NO_METRIC
    assert found.evidence == "ValueError: unsupported hash type blake2s"
