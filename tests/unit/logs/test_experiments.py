"""Experiments of a log: which are runs of the incumbent, and what each was kept against."""

from helpers.autojudge_logs import HEADER
from ratchet.logs.experiments import LogExperiments, log_experiments
from ratchet.logs.reader import read_table


def experiments(text: str) -> LogExperiments:
    return log_experiments(read_table((HEADER + text).encode(), "log.tsv"))


def test_runs_of_the_incumbent() -> None:
    every = experiments(
        "a\t1.0\t1\tbaseline\tbase\nb\t1.1\t1\tbaseline\tbase again\nc\t0.9\t1\tkeep\twider\n"
        "d\t0.9\t1\tdiscard\trandom seed 42 to 137\ne\t0.8\t1\tkeep\tseed 3\n"
        "f\t0.9\t1\tdiscard\tseed-edcd01\ng\t0.9\t1\tdiscard\tre-run of c\n"
        "h\t0\t1\tcrash\tre-run of c\n"
    )
    assert every.again == [True, True, False, True, False, False, True, False]
    assert every.further_runs == [3, 5, 8]
    assert every.baseline_runs == [1.0, 1.1]


def test_each_kept_row_has_the_incumbent_of_its_time() -> None:
    every = experiments(
        "a\t0\t1\tcrash\tx\nb\t1.0\t1\tkeep\tx\nc\t1.1\t1\tdiscard\tx\nd\t0.9\t1\tkeep\tx\n"
        "e\t0.7\t1\tcrash\tx\nf\t0.95\t1\tbaseline\tanew\ng\t0.8\t1\tkeep\tx\n"
    )
    assert every.incumbents == {3: 1, 5: 3, 6: 5}
    assert (every.first, every.best) == (1, 0.8)


REPEATED = (
    "a\t0.997913\t1\tkeep\tbaseline\nb\t0.997913\t1\tdiscard\tre-run of a\n"
    "c\t0.991245\t1\tkeep\twider\nd\t0.991245\t1\tdiscard\tre-run of c\n"
)


def test_rows_of_one_code_and_what_they_tell_of_seeds() -> None:
    every = experiments(REPEATED)
    assert every.replicates == [[0.997913] * 2, [0.991245] * 2]
    assert any("the seed has no effect here, or was not changed" in s for s in every.assumptions())
    other = experiments(REPEATED + "e\t0.991246\t1\tdiscard\tre-run of c\n")
    assert other.replicates[-1] == [0.991245, 0.991245, 0.991246]
    assert not any("no effect" in said for said in other.assumptions())


def test_a_log_whose_values_are_all_equal_is_saturated() -> None:
    rows = [f"{n}\t1.0\t1\t{'discard' if n else 'keep'}\tchange {n}\n" for n in range(3)]
    assert experiments("".join(rows)).is_saturated
    assert "saturated" in experiments("".join(rows)).assumptions()[-1]
    assert not experiments("".join(rows[:2])).is_saturated
    assert not experiments("".join(rows) + "9\t1.1\t1\tdiscard\tz\n").is_saturated
