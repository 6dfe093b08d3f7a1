"""One sample's numbers, for the tests of what is published."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

from edge.config.model import DeviceConfig
from edge.publish.composer import Composer, Health, Life, Models, Period
from edge.publish.messages import Birth, Result
from edge.runtime.contract import Contract
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
)

SCALE = Scale(0.1123, "locked", 0.09)


def _contract(role: str, thresholds: dict[str, float]) -> Contract:
    return Contract.model_validate(
        {
            "role": role, "name": f"{role}-s4", "version": "1.0.0", "classes": CLASSES, "um_per_px": 0.25, "size": 40,
            "thresholds": thresholds, "graph_sha256": "0" * 64,
        }
    )  # fmt: skip


MODELS = Models(
    detector=_contract("detector", {"score": 0.35}),
    detector_sha256="a" * 64,
    classifier=_contract("classifier", {"sickle": 0.8, "abstain": 0.5}),
    classifier_sha256="b" * 64,
    runtime="onnxruntime 1.23.2 CPU fp32",
)


def composer() -> Composer:
    """Make a device whose clocks stand still: what it says is always the same but for `boot_id`."""
    return Composer(DEVICE, wall=lambda: 1_790_000_000.25, monotonic=lambda: 5321.5, synchronised=lambda: True)


def birth(compose: Composer) -> Birth:
    return compose.birth(MODELS, "/dev/video0, 1920 by 1080 at 30 Hz", None)


def result(compose: Composer) -> Result:
    period = Period(1_789_999_900_000, 1_790_000_000_000, 100.0)
    draft = compose.draft(Life(uuid4(), "K-1042"), COUNTS, VERDICT, SCALE, MODELS, period)
    return compose.result(draft, 1, "review", "")


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
