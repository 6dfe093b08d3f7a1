"""The service that waits for samples, asked by its socket and by commands: it does what is asked, or says why not."""

from __future__ import annotations

import http.client
import json
import re
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.api.client import NotRunningError, state
from edge.cli.main import app
from edge.config.model import WebConfig
from edge.errors import CameraError, CommandError, SampleError, StorageError
from edge.publish.composer import Composer
from edge.publish.publisher import Publisher
from edge.sample.command_queue import CommandQueue
from edge.sample.commands import Start, parse
from edge.service.fault_page import fault_page
from edge.service.service import Service
from edge.storage.database import Database, database_path
from edge.storage.outbox import Outbox
from tests.edge.service.service_parts import do, running, waiting
from tests.mosquitto import free_port, wait_for
from tests.program import Program


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


def test_a_sample_from_its_start_to_its_review_over_the_api(tmp_path: Path) -> None:
    # A folder so deep that no address of a Unix socket could hold it.
    folder = tmp_path / ("deep" * 20)
    port = free_port()
    config = waiting(folder).model_copy(update={"web": WebConfig(port=port)})
    with pytest.raises(NotRunningError, match="no service runs"):
        state(tmp_path)
    with running(config):
        assert (folder / "sicklescope.sock").stat().st_mode & 0o007 == 0
        assert state(folder)["state"] == "idle"
        with pytest.raises(SampleError, match="no sample is being scanned"):
            do(folder, command="stop")
        with pytest.raises(SampleError, match="never a patient's name"):
            do(folder, command="start", sample="Jane Doe")
        begun = do(folder, command="start", sample="K-1")
        assert (begun["sample"], begun["state"]) == ("K-1", "scanning")
        with pytest.raises(SampleError, match=r"sample K-1 is being scanned\. Stop it first"):
            do(folder, command="start", sample="K-2")
        wait_for(lambda: ((state(folder)["counts"] or {}).get("by_class") or {}).get("sickle", 0) > 0, 60)
        code, jpeg = get(port, "/api/v1/frame.jpg")
        assert (code, jpeg[:3]) == (200, b"\xff\xd8\xff")
        ended = do(folder, command="stop")
        assert (ended["state"], ended["reason"]) == ("incomplete", "it was stopped before its target")
        assert state(folder)["state"] == "idle"

        code, body = get(port, "/api/v1/samples/K-1/cells?class=sickle")
        cells = json.loads(body)["cells"]
        assert code == 200
        assert {cell["class_name"] for cell in cells} == {"sickle"}
        number = cells[0]["number"]
        code, jpeg = get(port, f"/api/v1/samples/K-1/cells/{number}.jpg")
        assert (code, jpeg[:3]) == (200, b"\xff\xd8\xff")
        with pytest.raises(
            SampleError, match=r"sample K-1 is incomplete \(it was stopped before its target; .* red cells"
        ):
            do(folder, command="review", sample="K-1", cells={str(number): "other"}, done=True)
        do(folder, command="review", sample="K-1", cells={str(number): "other"}, done=True, reason="no more blood")
        described = json.loads(get(port, f"/api/v1/samples/{begun['id']}")[1])
        assert [(one["revision"], one["reviewed_cells"]) for one in described["results"]] == [(1, 0), (2, 1)]
        assert [one["sample"] for one in json.loads(get(port, "/api/v1/samples")[1])["samples"]] == ["K-1"]

        assert do(folder, command="reopen", sample="K-1")["reason"] == "a signed result was reopened"
        further = do(folder, command="reopen", sample="K-1")
        assert further["state"] == "scanning"
        do(folder, command="discard", sample="K-1", reason="wrong slide")
        assert state(folder)["state"] == "idle"

        assert get(port, "/api/v1/samples/nobody")[0] == 404
        assert get(port, "/api/v1/samples?limit=lots")[0] == 400
        assert get(port, "/api/v1/state", Host="evil.example")[0] == 400
    assert not (folder / "sicklescope.sock").exists()


def test_a_page_from_elsewhere_cannot_command(tmp_path: Path) -> None:
    port = free_port()
    with running(waiting(tmp_path).model_copy(update={"web": WebConfig(port=port)})):
        order = json.dumps({"command": "start", "sample": "K-1", "by": "x"})
        for kind, expected in (("text/plain", 415), ("application/x-www-form-urlencoded", 415)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/api/v1/command", order, {"Content-Type": kind})
            assert connection.getresponse().status == expected
            connection.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/api/v1/command", b"x" * 100_000, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["kind"]) == (400, "CommandError")
        connection.close()
        assert state(tmp_path)["state"] == "idle"


def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    config = waiting(tmp_path)
    with running(config), pytest.raises(StorageError, match="another sicklescope runs"):
        Service(config).run()


def sicklescope(folder: Path, *words: str) -> tuple[int, str]:
    environ = {"SICKLESCOPE_DEVICE__STATE_DIR": str(folder), "SICKLESCOPE_MQTT__ENABLED": "false"}
    done = CliRunner().invoke(app, list(words), env=environ)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_commands_ask_the_service_and_read_what_is_kept_without_one(tmp_path: Path) -> None:
    with running(waiting(tmp_path, fields=5)):
        assert sicklescope(tmp_path, "sample", "start", "K-7") == (0, "sample K-7 is scanning\n")
        wait_for(lambda: state(tmp_path)["state"] == "idle", 60)
        code, said = sicklescope(tmp_path, "sample", "start", "K-7")
        assert code == 8
        assert "was used on" in said
    code, said = sicklescope(tmp_path, "sample", "list")
    assert (code, said.split()[:2]) == (0, ["sample", "day"])
    assert re.search(r"K-7 +20\d\d-\d\d-\d\d  review +\d+ +\d+ +–  +insufficient +5 fields were read", said)
    assert sicklescope(tmp_path, "sample", "list", "--state", "final") == (0, "no sample fits\n")
    assert sicklescope(tmp_path, "sample", "list", "--search", "-7")[1] == said
    assert sicklescope(tmp_path, "sample", "list", "--search", "X") == (0, "no sample fits\n")
    code, said = sicklescope(tmp_path, "sample", "stop")
    assert code == 8
    assert "no sample is being scanned" in said
    code, said = sicklescope(tmp_path, "sample", "start", "K-8")
    assert code == 8
    assert "no service runs that could scan" in said
    assert sicklescope(tmp_path, "sample", "review", "K-7", "--done", "--by", "dr") == (0, "sample K-7 is final\n")
    code, said = sicklescope(tmp_path, "sample", "show", "K-7")
    assert "final by dr" in said
    assert sicklescope(tmp_path, "sample", "export", "K-7", str(tmp_path / "out"))[0] == 0
    exported = json.loads((tmp_path / "out" / "sample.json").read_text())
    rows = (tmp_path / "out" / "cells.csv").read_text().splitlines()
    assert exported["state"] == "final"
    assert len(rows) - 1 == exported["draft"]["cells_seen"] - exported["draft"]["border"]
    assert sicklescope(tmp_path, "backup", str(tmp_path / "copy.sqlite3"))[0] == 0
    assert sicklescope(tmp_path, "sample", "erase", "K-7", "--yes", "--reason", "asked for")[0] == 0
    assert sicklescope(tmp_path, "sample", "list") == (0, "no sample is kept\n")
    assert b"K-7" not in (tmp_path / "sicklescope.sqlite3").read_bytes()
    assert b"K-7" in (tmp_path / "copy.sqlite3").read_bytes()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
orders = st.fixed_dictionaries(
    {"command": st.sampled_from(["start", "stop", "discard", "reopen", "review", "erase", "fly"]) | anything},
    optional=dict.fromkeys(("sample", "by", "reason", "cells", "done", "else"), anything),
)


@given(st.binary(max_size=200) | orders.map(lambda order: json.dumps(order).encode()))
def test_any_bytes_are_an_order_or_a_named_error(text: bytes) -> None:
    try:
        order = parse(text)
    except CommandError as error:
        assert str(error).startswith("the command")  # noqa: PT017
    else:
        assert 1 <= len(order.by) <= 64


def test_status_and_watch_tell_what_goes_on_without_the_fraction(tmp_path: Path) -> None:
    assert sicklescope(tmp_path, "status")[0] == 8
    with running(waiting(tmp_path)):
        assert re.search(r"state +idle", sicklescope(tmp_path, "status")[1])
        do(tmp_path, command="start", sample="K-1")
        wait_for(lambda: state(tmp_path)["counts"] is not None, 60)
        code, said = sicklescope(tmp_path, "status")
        assert code == 0 == sicklescope(tmp_path, "status", "--check")[0]
        assert re.search(r"sample +K-1\nred cells +\d+\nsickle-like +\d+ \(the fraction is shown when", said)
        assert "%" not in said
        assert state(tmp_path)["verdict"]["fraction"] is None
        watch = Program(tmp_path, "watch", "--every", "0.2", SICKLESCOPE_DEVICE__STATE_DIR=str(tmp_path))
        wait_for(lambda: watch.out.count("\n") > 2, 60)
        watch.process.send_signal(signal.SIGINT)
        assert watch.end() == 130
        assert watch.out.startswith("state scanning; sample K-1; red cells ")


def test_a_health_check_fails_for_a_service_that_cannot_read_samples(tmp_path: Path) -> None:
    config = waiting(tmp_path)
    with Database(database_path(config)) as database:
        publisher = Publisher(config.mqtt, Composer(config.device), Outbox(database), birth=lambda: None)
        with fault_page(config, database, publisher, CameraError("no camera")):
            code, said = sicklescope(tmp_path, "status")
            assert code == 0
            assert re.search(r"state +fault", said)
            assert sicklescope(tmp_path, "status", "--check") == (1, said)


def test_a_shell_can_complete_the_commands(tmp_path: Path) -> None:
    environ = {"COMP_WORDS": "sicklescope sample re", "COMP_CWORD": "2", "_SICKLESCOPE_COMPLETE": "complete_bash"}
    program = Program(tmp_path, **environ)
    program.end()
    assert program.out.split() == ["reopen", "review", "report"]


def test_what_waits_when_the_service_ends_is_refused() -> None:
    commands = CommandQueue()
    early = commands.submit(Start(command="start", sample="A", by="x"))
    commands.close()
    for future in (early, commands.submit(Start(command="start", sample="B", by="x"))):
        with pytest.raises(CommandError, match="the service is stopping"):
            future.result(0)
