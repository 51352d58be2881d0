"""How a training is shown on a terminal and in a log."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from threecad.cli import main
from threecad.cli.learning import showing, told
from threecad.learning.loop import Progress

STEP = Progress("metal", 3, 50, 32, 64, (0.5, 0.25, 0.125), 123.4, 0.015, 2.04, 61.0)


def test_a_step_is_told_in_one_line() -> None:
    assert told(STEP) == "L_dis 0.500  L_rec 0.250  L_bce 0.125  123 img/s  data wait 2 %  2.0 GB  1 min left"


def test_where_there_is_little_room_the_time_left_stays_longest() -> None:
    whole = told(STEP)
    assert told(STEP, len(whole)) == whole
    assert told(STEP, len(whole) - 1) == "L_dis 0.500  L_rec 0.250  L_bce 0.125  123 img/s  data wait 2 %  1 min left"
    assert told(STEP, 60) == "L_dis 0.500  L_rec 0.250  L_bce 0.125  123 img/s  1 min left"
    assert told(STEP, 50) == "L_dis 0.500  L_rec 0.250  L_bce 0.125  1 min left"
    assert told(STEP, 0) == "1 min left"


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00 min"), (90000, "25 h 00 min")],
)
def test_the_time_that_is_left_has_a_unit_that_suits_it(seconds: float, left: str) -> None:
    assert told(replace(STEP, seconds_left=seconds)).endswith(f"  {left} left")


def test_few_images_a_second_have_a_digit_more() -> None:
    assert "  9.6 img/s" in told(replace(STEP, images_per_second=9.64))


def test_decoding_counts_images() -> None:
    assert told(replace(STEP, epoch=0, done=5, total=9)) == "5/9 images"


@click.command()
def shown() -> None:
    with showing(quiet=False) as (progress, note):
        note("name\x1b[2J: chosen")
        for epoch, done in ((0, 64), (1, 32), (1, 64), (1, 64), (2, 64)):
            progress(replace(STEP, epoch=epoch, done=done))


def test_in_a_log_there_is_a_line_an_epoch_and_nothing_that_moves_the_cursor() -> None:
    lines = CliRunner().invoke(shown, catch_exceptions=False).stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("threecad: name")
    assert lines[0].endswith(": chosen")
    assert [line.split("  L_dis")[0] for line in lines[1:]] == ["metal  epoch 1/50", "metal  epoch 2/50"]
    assert "\x1b" not in "".join(lines)


def test_which_run_is_to_be_replaced_has_to_be_said() -> None:
    result = CliRunner().invoke(main, ["train-cfrg", "parts", "--overwrite"])
    assert result.exit_code == 2
    assert result.stderr == "threecad: found --overwrite without --run; expected --run DIR, the run that is to be replaced\n"
