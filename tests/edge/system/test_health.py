"""The machine's health, on trees of files as a Raspberry Pi, a Jetson and a bare virtual machine have them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge.service.service import Service
from edge.system.health import Machine, MachineHealth, existing, free_mb
from tests.edge.service.service_parts import configured
from tests.mosquitto import Listener, Mosquitto, wait_for

MEMORY = {"proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable:    2000000 kB\n"}

PI = MEMORY | {
    "sys/class/thermal/thermal_zone0/temp": "61322\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}

JETSON = MEMORY | {
    "sys/class/thermal/thermal_zone0/temp": "51468\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/temp": "54906\n",
    "sys/class/thermal/cooling_device0/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device1/type": "devfreq-17000000.gpu\n",
    "sys/class/thermal/cooling_device1/cur_state": "2\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": "# < POWER_MODEL ID=2 NAME=OLD >\n< POWER_MODEL ID=0 NAME=15W >\n"
    "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def test_a_raspberry_pi_tells_heat_and_a_weak_power_supply(tmp_path: Path) -> None:
    health = Machine(tmp_path, tree(tmp_path, PI)).health()
    assert health.temperature_c == pytest.approx(61.322)
    assert health.throttling == ("throttled", "under_voltage")
    assert health.throttled_before == ("throttled", "under_voltage")
    assert health.memory_available_mb == pytest.approx(2048)
    assert health.power_mode is None


def test_a_raspberry_pi_5_keeps_the_file_elsewhere_and_is_well(tmp_path: Path) -> None:
    path = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    health = Machine(tmp_path, tree(tmp_path, {path: "0\n"})).health()
    assert (health.throttling, health.throttled_before) == ((), ())


def test_a_jetson_tells_its_hottest_zone_its_power_mode_and_over_current(tmp_path: Path) -> None:
    health = Machine(tmp_path, tree(tmp_path, JETSON)).health()
    assert health.temperature_c == pytest.approx(54.906)
    assert health.power_mode == "MAXN_SUPER"
    assert health.throttling == ("heat",)
    assert health.throttled_before == ("over_current",)


def test_a_power_mode_without_a_name_is_its_number(tmp_path: Path) -> None:
    assert Machine(tmp_path, tree(tmp_path, {"var/lib/nvpmodel/status": "pmode:0003"})).health().power_mode == "3"


def test_what_a_machine_does_not_tell_is_none_and_not_nought(tmp_path: Path) -> None:
    root = tree(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "", "proc/meminfo": "nonsense"})
    health = Machine(tmp_path, root).health()
    assert health == MachineHealth(None, None, None, None, None, health.disk_free_mb)
    assert health.disk_free_mb == pytest.approx(shutil.disk_usage(tmp_path).free / 1e6, rel=0.1)


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    memory_mb = Machine(tmp_path).health().memory_available_mb
    assert memory_mb is not None
    assert memory_mb > 50


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_above(tmp_path: Path) -> None:
    assert existing(tmp_path / "a/b") == tmp_path
    assert free_mb(tmp_path / "a/b") > 0


def news(machine: Machine, **changes: Any) -> list[tuple[str, str]]:
    changed = replace(MachineHealth(50.0, (), (), None, 1000.0, 10_000.0), **changes)
    return [(level, code) for level, code, _ in machine.news(changed)]


def test_a_state_that_lasts_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert news(machine) == []
    assert news(machine, throttling=("heat",)) == [("warning", "throttled")]
    assert news(machine, throttling=("heat",)) == []
    assert news(machine, throttling=("heat", "under_voltage")) == [("warning", "throttled")]
    assert news(machine, throttled_before=("heat", "under_voltage")) == [("info", "throttled_no_more")]
    assert news(machine, throttled_before=("heat", "under_voltage")) == []


def test_a_dip_between_two_looks_is_told_though_it_is_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (event,) = machine.news(MachineHealth(50.0, (), ("under_voltage",), None, None, 1e4))
    assert event[1:] == (
        "throttled",
        "the machine was slowed down: under_voltage. Use a stronger power supply and a shorter cable",
    )
    assert news(machine, throttled_before=("under_voltage",)) == []


def test_a_disk_that_fills_is_told_once_until_there_is_room_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    told = [news(machine, disk_free_mb=free) for free in (250.0, 199.0, 201.0, 150.0, 301.0, 199.0)]
    assert told == [[], [("warning", "disk_low")], [], [], [], [("warning", "disk_low")]]


class Usage(NamedTuple):
    """As shutil.disk_usage gives it."""

    total: int
    used: int
    free: int


def test_a_run_sends_the_machines_health_and_events(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_mosquitto()
    monkeypatch.setattr("edge.system.health.shutil.disk_usage", lambda _: Usage(1, 1, 120_000_000))
    with Listener(broker.host, broker.port) as dashboard:
        Service(configured(tmp_path, broker.port), frames=2).run()
        wait_for(lambda: dashboard.of("telemetry") and dashboard.of("event"))
    assert dashboard.of("telemetry")[-1]["disk_free_mb"] == 120.0
    (event,) = (event for event in dashboard.of("event") if event["code"] == "disk_low")
    assert "120 MB free" in event["text"]
