"""What a log and a terminal say of how far a job is."""

import itertools

import pytest

from command_line import progress
from command_line.progress import LOG_INTERVAL_S, Progress, ProgressBar


@pytest.fixture
def clock(monkeypatch):
    """Lets the time pass: `clock(60)` is a minute later."""
    now_s = 1000.0

    def pass_by(duration_s):
        nonlocal now_s
        now_s += duration_s

    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)
    return pass_by


def test_the_time_left_follows_from_what_this_run_has_done(clock, capsys):
    with ProgressBar() as bar:
        bar.show(Progress("50/100 files", 50, 100, before=50))
        clock(60)
        bar.show(Progress("60/100 files", 60, 100, before=50))
        clock(240)
        bar.show(Progress("100/100 files", 100, 100, before=50))
        clock(30)
        bar.show(Progress("100/100 files, and the report", 100, 100, before=50))
    assert capsys.readouterr().err.splitlines() == [
        " 50% 50/100 files, ? left",
        " 60% 60/100 files, 04:00 left",
        "100% 100/100 files, 00:00 left",
    ]


def test_what_has_no_known_end_is_only_counted(clock, capsys):
    with ProgressBar() as bar:
        clock(10)
        bar.show(Progress("3 files looked at"))
    assert capsys.readouterr().err == "3 files looked at\n"


def test_a_bar_has_nothing_to_say_before_it_is_told(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    with ProgressBar() as bar:
        bar.show(Progress("3 files looked at"))
        bar.show(Progress("4/8 files", 4, 8))
    shown = capsys.readouterr().err
    assert "3 files looked at" in shown
    assert " 50%|" in shown
    assert "it/s" not in shown


def test_the_log_of_a_day_has_a_few_hundred_lines_and_starts_with_one_every_ten_seconds(
    clock, capsys
):
    with ProgressBar() as bar:
        for number in itertools.count():
            clock(LOG_INTERVAL_S)
            bar.show_at_times(Progress(f"{number} files"))
            if bar.elapsed_s >= 24 * 3600:
                break
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["0 files", "1 files", "2 files"]
    assert len(lines) < 400
