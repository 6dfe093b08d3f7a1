"""One sample's numbers, for the tests of what is published."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

from edge.config.model import DeviceConfig
from edge.publish.composer import Composer, Health
from edge.publish.messages import Birth
from edge.publish.result_messages import Result
from edge.screening.sample_record import Period, SampleRecord, UsedNetworks
from edge.system.health import MachineHealth
from edge.types import CLASSES, Counts, Exclusion, Reason, Scale, Verdict

DEVICE = DeviceConfig(site="mbarara", device="scope-1")

COUNTS = Counts(
    by_class=dict(zip(CLASSES, (1100, 37, 60, 4, 51, 8), strict=True)),
    excluded={Exclusion.ABSTAINED.value: 20, Exclusion.BORDER.value: 90},
    rejected={**{reason.value: 0 for reason in Reason}, "out_of_focus": 3, "empty": 1},
    cells_seen=1370,
    fields_read=24,
    area_mm2=0.4608,
    fields_repeated=6,
    islands=1,
)

VERDICT = Verdict(
    status="reported",
    red_cells=1197,
    sickle=37,
    fraction=37 / 1197,
    low=0.0225,
    high=0.0423,
    fraction_if_none=37 / 1217,
    fraction_if_all=57 / 1217,
    limit_of_blank=0.003,
    above_blank=True,
    flags=("wbc_may_include_nucleated_red_cells",),
    text="Sickle-like cells 37 of 1197 (95 % interval 2.25–4.23 %). Not a diagnosis: does not exclude sickle-cell "
    "disease or trait; confirm by HPLC or electrophoresis.",
)

HEALTH = Health(
    fps=21.5,
    frames=640,
    frames_dropped=2,
    rss_mb=212.4,
    stage_ms={"detect": 18.25, "classify": 9.5},
    machine=MachineHealth(54.9, ("heat",), ("over_current",), "MAXN_SUPER", 3150.2, 21480.0),
    certificate_ends_ms=1_859_068_800_000,
    models_serial=3,
)

SCALE = Scale(0.1123, "locked", 0.09)


NETWORKS = UsedNetworks(
    runtime="onnxruntime 1.23.2 CPU fp32",
    detector_name="detector-s4",
    detector_version="1.0.0",
    detector_sha256="a" * 64,
    classifier_name="classifier-s4",
    classifier_version="1.0.0",
    classifier_sha256="b" * 64,
    threshold_score=0.35,
    threshold_sickle=0.8,
    threshold_abstain=0.5,
)


def record(code: str = "K-1042") -> SampleRecord:
    period = Period(1_789_999_900_000, 1_790_000_000_000, 100.0)
    return SampleRecord(uuid4(), code, 0, COUNTS, VERDICT, SCALE, NETWORKS, period)


def composer() -> Composer:
    """Make a device whose clocks stand still: what it says is always the same but for `boot_id`."""
    return Composer(DEVICE, wall=lambda: 1_790_000_000.25, monotonic=lambda: 5321.5, synchronised=lambda: True)


def birth(compose: Composer) -> Birth:
    return compose.birth(NETWORKS, "/dev/video0, 1920 by 1080 at 30 Hz", None)


def result(compose: Composer) -> Result:
    return compose.result(record(), 1, 382_113_000_017, "review", "")


def make_certificates(folder: Path) -> None:
    """Write ca.pem, and broker.pem and device.pem signed by it, with their keys."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=clinic CA")
    for name, subject in (("broker", "/CN=localhost"), ("device", "/CN=scope-1")):
        (folder / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
