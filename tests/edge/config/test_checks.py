"""`config --check` names what is valid and still cannot be meant. Kind: a wrong setting found only when it hurts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.main import app


def checked(tmp_path: Path, text: str, encoding: str = "utf-8") -> tuple[int, str]:
    path = tmp_path / "sicklescope.toml"
    path.write_text(text, encoding)
    result = CliRunner().invoke(app, ["config", "--check", "--config", str(path)])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mqtt]\nhost = "mqtt://broker"', "mqtt.host"),
        ('[mqtt]\nhost = "broker:8883"', "mqtt.host"),
        ('[mqtt]\nhost = "broker/lab"', "mqtt.host"),
        ('[mqtt]\nhost = " broker"', "mqtt.host"),
        ('[mqtt]\nhost = "user@broker"', "mqtt.host"),
        ('[mqtt]\nhost = "[fe80::1]:1883"', "mqtt.host"),
        ('[mqtt]\nhost = ""', "mqtt.host"),
        # Kind: a number that no clock, disk or database takes, and that ended the service when it came to be used.
        ("[camera]\nread_timeout_s = 1e308", "camera.read_timeout_s"),
        ("[retention]\nsamples_days = 1000000000000", "retention.samples_days"),
        ("[optics]\ncalibration_days = 1000000000000", "optics.calibration_days"),
        ('[mqtt]\nhost = "broker"\ntls = true', "usually listens on 8883"),
        ('[mqtt]\nhost = "broker"\nport = 8883', "usually expects TLS"),
        ('[mqtt]\nhost = "broker"\nusername = "u"\npassword = "p"', "in plain text"),
        ('[mqtt]\ntls = true\nport = 8883\nca_file = "ca.pem"', "mqtt.ca_file"),
        ('[mqtt]\ntls = true\nport = 8883\ncert_file = "c.pem"\nkey_file = "k.pem"', "mqtt.key_file"),
        ('[optics]\nobjective = "100x"\ncalibration = "none.json"', "optics.calibration"),
        ("[screening]\nmin_red_cells = 2000", "screening.min_red_cells = 2000: above"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, text: str, said: str) -> None:
    code, output = checked(tmp_path, text)
    assert code == 2, output
    assert said in output


@pytest.mark.parametrize(
    "text",
    [
        '[mqtt]\nhost = "fe80::1"',
        '[mqtt]\nhost = "broker.example"\nport = 8883\ntls = true',
        '[mqtt]\nusername = "u"\npassword = "p"',
        '[mqtt]\nenabled = false\ntls = true\nca_file = "ca.pem"',
        "[screening]\nmin_red_cells = 1000",
    ],
)
def test_what_may_be_meant_passes(tmp_path: Path, text: str) -> None:
    assert checked(tmp_path, text)[0] == 0, checked(tmp_path, text)[1]


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    assert checked(tmp_path, "[mqtt]\nport = 1900\n", "utf-8-sig") == checked(tmp_path, "[mqtt]\nport = 1900\n")
