"""Progress as text: where it goes, what it says of steps that end early, and of an interruption."""

from __future__ import annotations

import sys
import time

import pytest
from IPython.core.interactiveshell import InteractiveShell

from restore_utils.progress import aside, text_progress


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test may have run a notebook


def last_lines(text: str) -> list[str]:
    """What a terminal shows in the end."""
    return [line.rpartition("\r")[2].strip() for line in text.split("\n")]


def test_a_step_that_ends_early_is_shown_as_done(capsys):
    with text_progress() as progress:
        progress("stage 1", 10, 90)
        progress("stage 1", 36, 90)
        progress("restore", 1, 2)
        progress("restore", 2, 2)
    first, second, *_ = last_lines(capsys.readouterr().err)
    assert first.startswith("stage 1: 100%")
    assert "36/36" in first
    assert "pictures/s" in first
    assert "2/2" in second
    assert "frames/s" in second


def test_an_error_leaves_the_bar_where_it_was(capsys):
    def fails() -> None:
        with text_progress() as progress:
            progress("restore", 36, 90)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert "36/90" in last_lines(capsys.readouterr().err)[0]


def test_what_has_no_end_is_counted(capsys):
    with text_progress() as progress:
        progress("compare", 72, None)
    assert "72 frames" in last_lines(capsys.readouterr().err)[0]


def test_a_notebook_shows_no_red_and_one_line_of_an_interruption(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    shell = InteractiveShell()
    shell.run_cell(
        "from restore_utils.progress import text_progress\n"
        "with text_progress() as progress:\n"
        "    progress('restore', 1, 9)\n"
        "    raise KeyboardInterrupt\n"
    )
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "1/9" in shown.out
    assert "Stopped. What is finished stays" in shown.out
    assert "Traceback" not in shown.out


def test_a_terminal_gets_the_interruption_itself():
    with pytest.raises(KeyboardInterrupt) as stopped, text_progress():
        raise KeyboardInterrupt
    assert type(stopped.value) is KeyboardInterrupt


def test_something_moves_where_a_step_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("restore_utils.progress._QUIET_S", 0.0)
    monkeypatch.setattr("restore_utils.progress._BEAT_S", 0.01)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    said = ""

    def until(words: str) -> None:
        nonlocal said
        for _ in range(500):
            said += capsys.readouterr().out
            if words in said:
                return
            time.sleep(0.01)
        raise AssertionError(said)

    with text_progress() as progress:
        until("starting ...")
        progress("restore", 1, 9)
        aside("steady looks ahead", 7, 40)
        until("steady looks ahead: 7/40")
        progress("restore", 2, 9)
    aside("nobody listens", 1)


def test_a_file_of_messages_gets_no_clock(capsys, monkeypatch):
    monkeypatch.setattr("restore_utils.progress._QUIET_S", 0.0)
    monkeypatch.setattr("restore_utils.progress._BEAT_S", 0.01)
    with text_progress():
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
