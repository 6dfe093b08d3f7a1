"""The record of control slides: kept, judged, and what it lets results say."""

from __future__ import annotations

import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from edge.api.client import NotRunningError, state
from edge.cli.main import app
from edge.config.model import CameraConfig, ControlConfig, ScreeningConfig
from edge.errors import InputError, SampleError
from edge.sample.controls import ControlReading, ControlSlides
from edge.sample.sample_row import Moment
from edge.screening.levey_jennings import READINGS_SHOWN, Point, levey_jennings
from edge.screening.sample_record import SampleRecord
from edge.screening.westgard import Expected, observed
from edge.service.service import Service
from edge.storage.database import Database, database_path
from edge.types import Verdict
from tests.edge.publish.publish_parts import NETWORKS as NAMES
from tests.edge.publish.publish_parts import VERDICT, record
from tests.edge.service.service_parts import configured
from tests.mosquitto import Listener, Mosquitto, wait_for
from tests.program import Program

NETWORKS, OTHERS = ("d" * 64, "c" * 64), ("d" * 64, "e" * 64)
MARK = ControlConfig(enforce="mark", days=1.25)
DAY_S = 86_400.0
READ_IT = "Read it with: sicklescope control read pos"


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> Iterator[ControlSlides]:
    with Database(tmp_path / "s.sqlite3") as database:
        yield ControlSlides(database, clock)


def ended(name: str, sickle: int, networks: tuple[str, str], **more: Any) -> SampleRecord:
    """Return a sample that reads a slide: so many sickle cells of 1,000."""
    used = replace(NAMES, detector_sha256=networks[0], classifier_sha256=networks[1])
    changed = {"code": f"control-{name}-1", "networks": used, "verdict": verdict(sickle), **more}
    return replace(record(), **changed)


def verdict(sickle: int, **more: Any) -> Verdict:
    return replace(VERDICT, sickle=sickle, red_cells=1000, **more)


def moment(book: ControlSlides) -> Moment:
    return Moment(book._now_ms(), True, "boot-1", 1000.0)


def read(
    book: ControlSlides, name: str, sickle: int, networks: tuple[str, str] = NETWORKS, **more: Any
) -> ControlReading:
    book.record(ended(name, sickle, networks, **more), moment(book))
    return book.readings(book.slide(name))[-1]


def added(book: ControlSlides) -> ControlSlides:
    book.add("pos", Expected(0.05, 0.005))
    return book


def test_readings_are_kept_and_judged_in_their_order_whatever_the_clock_says(book: ControlSlides, clock: Clock) -> None:
    slide = added(book).slide("pos")
    for sickle in (70, 71, 50):
        read(book, "pos", sickle, NETWORKS)
        clock.s -= DAY_S
    first, second, third = book.readings(slide)
    assert (first.rules, second.rules, third.rules) == (("1_2s",), ("1_2s", "2_2s"), ())
    assert (first.failed, second.failed, third.failed) == (False, True, False)
    assert (first.sickle, first.red_cells, first.networks) == (70, 1000, NETWORKS)
    assert first.read_ms > third.read_ms


def test_another_model_begins_the_rules_anew(book: ControlSlides) -> None:
    read(added(book), "pos", 71)
    assert read(book, "pos", 71, OTHERS).rules == ("1_2s",)


def test_a_slide_that_is_added_again_begins_anew_and_the_old_readings_stay(book: ControlSlides, tmp_path: Path) -> None:
    slide = added(book).slide("pos")
    read(book, "pos", 71, NETWORKS)
    with pytest.raises(InputError, match="Retire it first"):
        book.add("pos", Expected(0.07))
    book.retire("pos")
    with pytest.raises(InputError, match="there is none; begin with"):
        book.slide("pos")
    book.add("pos", Expected(0.07))
    assert book.readings(book.slide("pos")) == []
    assert len(book.readings(slide)) == 1


def test_results_say_nothing_when_controls_are_off_or_in_order(book: ControlSlides, clock: Clock) -> None:
    read(added(book), "pos", 50)
    clock.s += 1.2 * DAY_S
    assert book.standing(MARK, NETWORKS) == {}
    clock.s += DAY_S
    assert book.standing(ControlConfig(), NETWORKS) == {}


@pytest.mark.parametrize("later_s", [1.3 * DAY_S, -60.0, -3650 * DAY_S])
def test_a_control_is_overdue_when_it_is_old_or_dated_in_the_future(
    book: ControlSlides, clock: Clock, later_s: float
) -> None:
    read(added(book), "pos", 50)
    clock.s += later_s
    assert book.standing(MARK, NETWORKS) == {"control_overdue": "pos was last read too long ago"}


def test_a_control_is_overdue_when_none_was_read_with_this_model(book: ControlSlides) -> None:
    assert book.standing(MARK, NETWORKS) == {"control_overdue": "no control slide is in use"}
    read(added(book), "pos", 50)
    assert book.standing(MARK, OTHERS) == {"control_overdue": "pos was not read with this model"}


def test_one_slide_of_several_that_fails_is_named_until_it_is_read_again(book: ControlSlides) -> None:
    book.add("neg", Expected(0.002))
    read(book, "neg", 2)
    read(added(book), "pos", 200)
    assert book.standing(MARK, NETWORKS) == {"control_failed": "pos broke 1_2s, 1_3s"}
    read(book, "pos", 50, NETWORKS)
    assert book.standing(MARK, NETWORKS) == {}


def test_a_warning_alone_marks_no_result(book: ControlSlides) -> None:
    read(added(book), "pos", 70)
    assert book.standing(MARK, NETWORKS) == {}


def test_a_sample_that_ends_twice_is_one_reading(book: ControlSlides) -> None:
    slide, sample = added(book).slide("pos"), uuid4()
    read(book, "pos", 200, sample_id=sample)
    assert read(book, "pos", 51, sample_id=sample).rules == ()
    assert [reading.sickle for reading in book.readings(slide)] == [51]


@pytest.mark.parametrize("status", ["insufficient", "withheld"])
def test_a_result_without_figures_is_no_reading(book: ControlSlides, status: str) -> None:
    slide = added(book).slide("pos")
    said = ended("pos", 200, NETWORKS, verdict=verdict(200, status=status, text="Why."))
    book.record(said, moment(book))
    assert book.readings(slide) == []
    assert book.failure(said) == "control slide pos was not read: Why."


def test_news_are_of_slides_that_failed_and_nothing_else(book: ControlSlides) -> None:
    good, bad = ended("pos", 50, NETWORKS), ended("pos", 200, NETWORKS)
    added(book).record(good, moment(book))
    assert book.failure(good) == ""
    book.record(bad, moment(book))
    assert book.failure(bad) == "control slide pos failed: 1_2s, 1_3s"
    assert book.failure(ended("pos", 200, NETWORKS, code="K-1042")) == ""


def test_a_slide_that_is_retired_while_it_is_read_costs_no_result(book: ControlSlides) -> None:
    added(book).retire("pos")
    gone = ended("pos", 50, NETWORKS)
    book.record(gone, moment(book))
    assert book.failure(gone) == ""


def test_a_code_says_which_slide_is_read_and_others_carry_how_the_slides_stand(book: ControlSlides) -> None:
    added(book)
    assert book.flags("control-pos-20261124T080000", MARK, NETWORKS) == {"control"}
    assert book.flags("K-1042", MARK, NETWORKS) == {"control_overdue"}
    assert book.flags("K-1042", ControlConfig(), NETWORKS) == set()
    with pytest.raises(SampleError, match="no control slide neg is in use; there is pos"):
        book.flags("control-neg", MARK, NETWORKS)


def test_the_spread_of_own_readings_is_what_counting_does_not_explain() -> None:
    mean, sd = observed([(k, 1000) for k in (30, 50, 70) * 7])
    assert mean == pytest.approx(0.05)
    assert sd == pytest.approx((0.0167**2 - 0.05 * 0.95 / 1000) ** 0.5, rel=0.02)
    assert observed([(50, 1000)] * 20) == pytest.approx((0.05, 0.0))


def test_a_chart_shows_the_newest_readings_each_with_its_words() -> None:
    points = [Point(f"day {i}", f"{i} < 1000 & more", 99.0 if i % 2 else -1.0, ()) for i in range(READINGS_SHOWN + 5)]
    points.append(Point("last", "FAILED", 3.2, ("1_2s", "1_3s")))
    root = ElementTree.fromstring(levey_jennings('<b> & "c"', "expected 5 %", points))  # noqa: S314
    names = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert names.count("circle") == READINGS_SHOWN - 1 + 2  # and two in the key
    tips = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert tips[0] == '<b> & "c"'
    assert tips[-1] == "last: FAILED"
    height = float(root.attrib["viewBox"].split()[3])
    assert all(0 <= float(element.attrib["cy"]) <= height for element in root.iter() if "cy" in element.attrib)


def control(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["control", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlSlides]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SICKLESCOPE_DEVICE__STATE_DIR", str(tmp_path / "state"))
    with Database(tmp_path / "state/sicklescope.sqlite3") as database:
        yield ControlSlides(database)


def test_a_slide_on_the_command_line_from_first_to_last(device: ControlSlides, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no control slide is in use" in control("list")[1]
    assert control("add", "pos", "--range", 0.04, 0.06)[0] == 0
    slide = device.slide("pos")
    assert slide.expected == Expected(0.05, (0.06 - 0.04) / 4)
    assert control("chart", "pos") == (3, f"sicklescope: pos was not read yet. {READ_IT}\n")
    for sickle in (50, 48, 90):
        read(device, "pos", sickle, NETWORKS)
    shown = control("show", "pos")[1].splitlines()
    assert len(shown) == 4
    assert shown[-1].endswith("FAILED: 1_2s, 1_3s")
    assert control("chart", "pos", "--out", "deep/er.svg")[0] == 0
    assert "90 of 1000" in Path("deep/er.svg").read_text("utf-8")
    monkeypatch.setenv("SICKLESCOPE_CONTROL__ENFORCE", "withhold")
    assert "results are withheld, with the flag control_overdue: pos was not read with this model" in control("list")[1]
    assert control("retire", "pos")[0] == 0
    assert control("show", "pos")[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "pos"], 2, "expected either --sickle"),
        (["add", "pos", "--sickle", "0.1", "--range", "0.1", "0.2"], 2, "expected either --sickle"),
        (["add", "pos", "--sickle", "5"], 2, "0.05 for 5 %"),
        (["add", "pos", "--range", "0.2", "0.1"], 2, "a standard deviation of -0.025"),
        (["add", "a-b", "--sickle", "0.1"], 3, "cannot be called 'a-b'"),
        (["show", "pos"], 3, "no control slide pos is in use"),
        (["retire", "pos"], 3, "no control slide pos is in use"),
    ],
)
def test_what_is_wrong_is_said(device: ControlSlides, arguments: list[str], code: int, words: str) -> None:
    found, output = control(*arguments)
    assert found == code
    assert words in output


def test_results_are_withheld_after_a_control_that_failed_until_it_is_in_order(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = start_mosquitto()
    config = configured(tmp_path, broker.port, CameraConfig(kind="virtual", width=320, height=240)).model_copy(
        update={
            "control": ControlConfig(enforce="withhold"),
            "screening": ScreeningConfig(min_red_cells=10, target_red_cells=20),
        }
    )
    with Listener("127.0.0.1", broker.port) as listener:
        with Database(database_path(config)) as database:
            ControlSlides(database).add("pos", Expected(0.0001))
        for code in ("control-pos-1", "A-1"):
            Service(config, code).run()
        with Database(database_path(config)) as database:
            ControlSlides(database).retire("pos")
            ControlSlides(database).add("pos", Expected(0.05, 0.05))
        for code in ("control-pos-2", "A-2"):
            Service(config, code).run()
        # A slow broker may be sent the same message twice.
        results = wait_for(
            lambda: len(found := {message["sample"]: message for message in listener.of("result")}) == 4 and found, 60
        )
        failed = wait_for(lambda: [event for event in listener.of("event") if event["code"] == "control"], 60)
        assert len({(event["boot_id"], event["seq"]) for event in failed}) == 1
    told = {code: (message["verdict"], message["fraction"] is None) for code, message in results.items()}
    assert told == {
        "control-pos-1": ("reported", False),
        "A-1": ("withheld", True),
        "control-pos-2": ("reported", False),
        "A-2": ("reported", False),
    }
    flags = {code: set(message["flags"].split(",")) for code, message in results.items()}
    assert "control" in flags["control-pos-1"]
    assert "control_failed" in flags["A-1"]
    assert not {"control", "control_failed", "control_overdue"} & flags["A-2"]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlSlides]:
    """Give the control book of a service that runs in a process of its own and waits for samples."""
    monkeypatch.chdir(tmp_path)
    Path("sicklescope.toml").write_text(
        'device.state_dir = "state"\nmqtt.enabled = false\noptics.um_per_px = 0.25\n'
        "[screening]\nmin_red_cells = 10\ntarget_red_cells = 60\nstop.fields = 1\n"
        '[camera]\nkind = "virtual"\nwidth = 320\nheight = 240\nfps = 2\n'
    )
    service = Program(tmp_path, "run")
    try:
        wait_for(lambda: doing() == "idle", 30)
        with Database(Path("state/sicklescope.sqlite3")) as database:
            yield ControlSlides(database)
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == 0, service.err
    finally:
        service.process.kill()


def doing() -> str | None:
    try:
        return str(state(Path("state"))["state"])
    except NotRunningError:
        return None


def test_a_running_service_reads_the_slide_and_the_command_waits_for_it(served: ControlSlides) -> None:
    served.add("pos", Expected(0.06, 0.05))
    code, said = control("read", "pos")
    (reading,) = served.readings(served.slide("pos"))
    assert code == 0, said
    assert reading.red_cells >= 60, "up to the target, whatever screening.stop says"
    assert f"found {reading.sickle} of {reading.red_cells}" in said
    assert "in review: the target of 60 red cells was reached" in said
    for others in (["add", "neg", "--sickle", 0.002], ["list"], ["show", "pos"], ["chart", "pos"], ["retire", "neg"]):
        assert control(*others)[0] == 0, others
    code, said = control("read", "pos", "--frames", 3)
    assert code == 2
    assert "a service runs" in said


def test_ctrl_c_ends_the_reading_and_not_the_service_that_does_it(served: ControlSlides, tmp_path: Path) -> None:
    served.add("pos", Expected(0.06, 0.05))
    (tmp_path / "other").mkdir()
    read = Program(tmp_path / "other", "control", "read", "pos", "--config", tmp_path / "sicklescope.toml")
    try:
        wait_for(lambda: doing() == "scanning", 30)
        code, said = control("read", "pos")
        assert code == 8
        assert "is being scanned. Stop it first" in said
        read.process.send_signal(signal.SIGINT)
        assert read.end() in (0, 1), read.err
    finally:
        read.process.kill()
    assert "in incomplete: it was stopped before its target" in read.out
    assert doing() == "idle"
