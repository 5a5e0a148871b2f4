"""Words and numbers for people; what a run or an agent wrote is made harmless and short."""

from hypothesis import given
from hypothesis import strategies as st

from ratchet.base.text import (
    DASH,
    clean_text,
    decimals_for,
    format_duration,
    format_number,
    format_percent,
    head_text,
    one_line_label,
    spoken_duration,
    tail_text,
)


def test_the_invisible_becomes_visible() -> None:
    assert clean_text("\x1b[31mred\x1b[0m\x00 a\u202eb\ufeff\u2028\x85") == (
        "red␀ a⟨U+202E⟩b⟨U+FEFF⟩⟨U+2028⟩⟨U+0085⟩"
    )
    assert clean_text("\x1b]8;;http://evil\x07link\x1b]8;;\x07") == "link"
    assert clean_text("\ud800") == "⟨U+D800⟩"
    assert clean_text("naïve — λ² 漢字 é") == "naïve — λ² 漢字 é"
    assert len(clean_text("a" + "\u0301" * 500)) < 12
    assert tail_text("10%\r50%\r100%\ndone\r\n", 100) == "100%\ndone"


@given(st.text())
def test_clean_text_stays_as_it_is(value: str) -> None:
    cleaned = clean_text(value)
    assert clean_text(cleaned) == cleaned
    assert "\x1b" not in cleaned and "\u202e" not in cleaned and "\r" not in cleaned
    cleaned.encode()
    one_line_label(value, 10), head_text(value, 10).encode(), tail_text(value, 10).encode()


def test_numbers_in_words() -> None:
    assert format_number(None) == DASH and format_number(float("nan")) == DASH
    assert format_number(-0.0001, 2, signed=True) == "0.00" and format_number(-1.5, 1) == "−1.5"
    assert format_percent(1.0) == "> 99.9 %" and format_percent(0.0) == "< 0.1 %"
    assert format_duration(84) == "1.4 minutes" and format_duration(7200) == "2.0 hours"
    assert decimals_for(0.0104, 3.4) == 3 and decimals_for(4e-4, 1.0) == 5
    assert decimals_for(None, None) == 4 and decimals_for(0.0, 250.0) == 1
    spoken = [spoken_duration(seconds) for seconds in (12, 89, 100, 3600, 36000)]
    assert spoken == ["12 s", "89 s", "2 min", "60 min", "10.0 h"]


def test_a_second_cut_remembers_the_whole_length() -> None:
    once = head_text("line\n" * 1000, 200)
    assert head_text(once, 50).endswith("only the beginning of 5,000 characters is shown]")
    assert head_text(once, 50).count("[cut") == 1
    once = tail_text("line\n" * 1000, 200)
    assert tail_text(once, 50).startswith("[cut: only the end of 5,000 characters is shown]")
    assert tail_text(once, 50).count("[cut") == 1
    assert head_text("[cut: only the end of ,, characters is shown]\nx", 99).endswith("x")
