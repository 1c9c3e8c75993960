"""What happens is told on the terminal and kept as JSON, whatever happens to the file."""

import json
import os
import threading

import pytest
from absl import logging

from packnet_jax.errors import TrainingError
from packnet_jax.events import EVENTS, EventLog, event_log, read_events


def test_an_event_is_one_line_of_json_and_one_on_the_terminal(tmp_path, capsys):
    log = EventLog(tmp_path)
    log.tell("save", "saved it", step=5, folder="there")
    log.keep("start", "known already", devices=["cpu"])
    lines = (tmp_path / EVENTS).read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["kind"], first["step"], first["folder"]) == ("save", 5, "there")
    assert first["message"] == "saved it"
    assert first["time"].endswith("+00:00")
    assert (second["kind"], second["step"], second["process"]) == ("start", None, 0)
    (said,) = capsys.readouterr().out.splitlines()
    assert said.endswith("step 5] saved it")


def test_what_is_not_finite_is_null(tmp_path):
    EventLog(tmp_path).keep("evaluation", "", metrics={"a": [float("nan"), 1.0]}, worst=-1e999)
    (event,) = read_events(tmp_path)
    assert event["metrics"] == {"a": [None, 1.0]}
    assert event["worst"] is None


@pytest.mark.parametrize("kept", [1, 20, 60])
def test_a_line_that_a_kill_has_cut_costs_itself_alone(tmp_path, kept):
    log = EventLog(tmp_path)
    log.keep("start", "first")
    size = (tmp_path / EVENTS).stat().st_size
    log.keep("save", "second")
    os.truncate(tmp_path / EVENTS, size + kept)
    EventLog(tmp_path).keep("resume", "third")
    assert [event["message"] for event in read_events(tmp_path)] == ["first", "third"]


def test_foreign_lines_are_left_out(tmp_path):
    assert read_events(tmp_path) == []
    (tmp_path / EVENTS).write_bytes(b'\xff\n[1]\n{"a": 1}\n\n{"kind": "start"}\n')
    assert read_events(tmp_path) == [{"kind": "start"}]


def test_warnings_of_anybody_are_kept_and_the_log_is_left_as_it_was(tmp_path):
    handlers = list(logging.get_absl_logger().handlers)
    with event_log(tmp_path):
        logging.warning("strange: %d", 3)
        logging.error("worse")
        logging.info("usual")
    logging.warning("later")
    kept = [(event["kind"], event["message"], event["level"]) for event in read_events(tmp_path)]
    assert kept == [("warning", "strange: 3", "warning"), ("warning", "worse", "error")]
    assert logging.get_absl_logger().handlers == handlers


def test_an_error_is_the_last_word(tmp_path):
    with pytest.raises(TrainingError), event_log(tmp_path):
        raise TrainingError("out of luck")
    with pytest.raises(KeyboardInterrupt), event_log(tmp_path):
        raise KeyboardInterrupt
    failed, interrupted = read_events(tmp_path)
    assert (failed["kind"], failed["type"], failed["message"]) == (
        "error",
        "TrainingError",
        "out of luck",
    )
    assert (interrupted["kind"], interrupted["reason"]) == ("end", "KeyboardInterrupt")


def test_other_processes_add_their_errors_alone(tmp_path, capsys):
    with pytest.raises(TrainingError), event_log(tmp_path, process=1) as log:
        log.tell("save", "not mine to tell", step=1)
        raise TrainingError("on the second host")
    (event,) = read_events(tmp_path)
    assert (event["kind"], event["process"]) == ("error", 1)
    assert not capsys.readouterr().out


def test_lines_of_many_writers_do_not_mix(tmp_path):
    def write(number: int) -> None:
        log = EventLog(tmp_path)
        for count in range(50):
            log.keep("warning", "x" * 5000, writer=number, count=count)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(event["writer"], event["count"]) for event in read_events(tmp_path)}
    assert len(found) == 200


def test_a_file_that_can_not_be_written_is_told_once_and_ends_nothing(tmp_path, capsys):
    log = EventLog(tmp_path / "absent")
    for step in (1, 2):
        log.tell("save", "saved", step=step)
    said = capsys.readouterr()
    assert said.out.count("saved") == 2
    assert said.err.count("can not be written") == 1


def test_what_a_full_disk_has_cut_is_ended_before_the_next_line(tmp_path, monkeypatch):
    log = EventLog(tmp_path)
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real_write(handle, data[:10]))
    log.keep("save", "cut")
    monkeypatch.undo()
    log.keep("save", "whole")
    assert [event["message"] for event in read_events(tmp_path)] == ["whole"]
