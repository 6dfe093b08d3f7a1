"""A model file is the one that was pinned, of the right role, for this version; else a person is told what to do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge.config.model import ModelConfig, ModelsConfig
from edge.errors import ModelError
from edge.runtime import contract
from edge.runtime.contract import METADATA_KEY, NOVELTY_THRESHOLDS, SHIPPED_DIR, SHIPPED_SHA256, Contract, Role
from edge.runtime.registry import open_network
from edge.types import CANONICAL_UM_PER_PX, CLASSES, KINDS
from training.fit.thresholds import SCORES

ROLES: tuple[Role, ...] = ("detector", "classifier")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(role: Role, path: Path, digest: str | None = None) -> None:
    """Open a file with its own digest, unless another is given."""
    model = ModelConfig(path=path, sha256=sha256(path) if digest is None else digest)
    open_network(role, ModelsConfig(detector=model, classifier=model)).close()


@pytest.fixture
def rewritten(tmp_path: Path) -> Callable[..., Path]:
    """Write a shipped model again with parts of its contract changed, or with none."""

    def write(file: str, contract_text: str | None = None, **changes: object) -> Path:
        model = onnx.load(str(SHIPPED_DIR / f"{file}.onnx"))
        text = next(p.value for p in model.metadata_props if p.key == METADATA_KEY)
        changed = Contract.model_validate_json(text).model_copy(update=changes).model_dump_json()
        onnx.helper.set_model_props(model, {METADATA_KEY: changed if contract_text is None else contract_text})
        if contract_text == "":
            del model.metadata_props[:]
        path = tmp_path / f"{file}.onnx"
        onnx.save(model, str(path))
        return path

    return write


@pytest.mark.parametrize("name", sorted(SHIPPED_SHA256))
def test_the_shipped_files_are_those_that_are_pinned(name: str) -> None:
    assert sha256(SHIPPED_DIR / f"{name}.onnx") == SHIPPED_SHA256[name]


@pytest.mark.parametrize(("precision", "form"), [("auto", ".int8.cpu"), ("int8", ".int8.cpu"), ("fp32", "")])
@pytest.mark.parametrize("role", ROLES)
def test_the_shipped_models_keep_their_contract(role: Role, precision: Any, form: str) -> None:
    network = open_network(role, ModelsConfig(runtime="onnxruntime", precision=precision))
    assert network.sha256 == SHIPPED_SHA256[f"{role}{form}"]
    assert network.contract.precision == ("int8" if form else "fp32")
    assert network.contract.role == role
    assert network.contract.um_per_px == CANONICAL_UM_PER_PX
    assert network.contract.classes == (KINDS if role == "detector" else CLASSES)
    limits = dict(network.contract.thresholds)
    assert all(limits.pop(name) > 1 for name in NOVELTY_THRESHOLDS if role == "classifier")  # a usual cell's is 1
    assert all(0 < value < 1 for value in limits.values())
    network.close()


def test_what_was_measured_is_what_is_shipped() -> None:
    """The page of figures, the cards and the code that measures speak of the thresholds and version of these files."""
    found: dict[str, Contract] = {}
    for role in ROLES:
        network = open_network(role, ModelsConfig(runtime="onnxruntime", precision="fp32"))
        found[role] = network.contract
        network.close()
        card = (SHIPPED_DIR / f"{role}.md").read_text(encoding="utf-8").splitlines()[0]
        assert card == f"# Model card: sicklescope-{role} {found[role].version}"
    asked = [found["detector"].thresholds[name] for name in ("score", "score_wbc", "score_platelet")]
    assert asked == list(SCORES)
    page = (Path(__file__).parents[3] / "docs/measurements/accuracy.md").read_text(encoding="utf-8")
    assert f"Sickle threshold of the shipped pair: **{found['classifier'].thresholds['sickle']:.4f}**" in page
    blank = found["classifier"].limit_of_blank
    assert blank is not None
    assert f"(95th percentile of single negative groups): {100 * blank:.2f} %" in page


def test_the_shipped_models_are_small_and_read_by_the_oldest_runtime() -> None:
    files = [SHIPPED_DIR / f"{role}.onnx" for role in ROLES]
    assert sum(path.stat().st_size for path in files) <= 5_000_000
    for path in files:
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=True)
        assert model.ir_version == 8
        assert {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}["ai.onnx"] == 17


@pytest.mark.parametrize("role", ROLES)
def test_the_graph_is_the_one_that_was_exported(role: Role) -> None:
    model = onnx.load(str(SHIPPED_DIR / f"{role}.onnx"))
    graph = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    text = next(p.value for p in model.metadata_props if p.key == METADATA_KEY)
    assert Contract.model_validate_json(text).graph_sha256 == graph


def test_a_shipped_model_that_was_cut_short_or_tampered_with_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "SHIPPED_DIR", tmp_path)
    name = "detector.int8.cpu"
    whole = (SHIPPED_DIR / f"{name}.onnx").read_bytes()
    middle = len(whole) // 2
    for data in (whole[:-1], b"", whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        (tmp_path / f"{name}.onnx").write_bytes(data)
        with pytest.raises(ModelError, match=rf"expected {SHIPPED_SHA256[name]}.*Reinstall"):
            open_network("detector", ModelsConfig())
    (tmp_path / f"{name}.onnx").unlink()
    with pytest.raises(ModelError, match=r"detector\.int8\.cpu\.onnx not found.*Reinstall"):
        open_network("detector", ModelsConfig())


def test_another_model_needs_its_digest_in_the_configuration() -> None:
    path = SHIPPED_DIR / "detector.onnx"
    with pytest.raises(ModelError, match=f"{sha256(path)}.*no digest is pinned.*models.detector.sha256"):
        open_network("detector", ModelsConfig(detector=ModelConfig(path=path)))
    with pytest.raises(ModelError, match=f"{sha256(path)}; expected {'0' * 64}.*models.detector.sha256"):
        opened("detector", path, "0" * 64)
    opened("detector", path)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match=re.escape(str(path)) + r" not found.*models\.classifier\.path"):
            opened("classifier", path, "0" * 64)


def test_swapped_models_are_told_apart() -> None:
    swapped: list[tuple[Role, Role]] = [("detector", "classifier"), ("classifier", "detector")]
    for role, other in swapped:
        with pytest.raises(ModelError, match=f"is a {other}; expected a {role}.*swapped"):
            opened(role, SHIPPED_DIR / f"{other}.onnx")


@pytest.mark.parametrize("data", [b"", b"no model", None], ids=["empty", "text", "cut short"])
def test_a_file_that_is_no_model_is_refused_even_with_its_digest_pinned(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes((SHIPPED_DIR / "detector.onnx").read_bytes()[:50_000] if data is None else data)
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded by onnxruntime|carries no contract"):
        opened("detector", path)


def test_a_model_without_a_contract_is_refused(rewritten: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"no contract.*sicklescope-export"):
        opened("detector", rewritten("detector", ""))
    for text in ("{", "{}", '{"schema_version": 2}'):
        with pytest.raises(ModelError, match="contract that cannot be read"):
            opened("detector", rewritten("detector", text))


@pytest.mark.parametrize(
    ("role", "changes", "message"),
    [
        ("detector", {"um_per_px": 0.2}, "um_per_px 0.2; expected 0.25"),
        ("classifier", {"classes": CLASSES[::-1]}, "classes .*'artefact'.*expected"),
        ("classifier", {"thresholds": {"sickle": 0.5}}, "no threshold abstain, second_look"),
    ],
)
def test_a_contract_that_this_version_cannot_keep_is_refused(
    rewritten: Callable[..., Path], role: Role, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        opened(role, rewritten(role, **changes))


def test_a_network_that_answers_something_else_is_refused(rewritten: Callable[..., Path]) -> None:
    path = rewritten("classifier", role="detector", classes=KINDS, size=4, thresholds={"score": 0.5})
    with pytest.raises(
        ModelError, match=r"answers prob, novelty; a detector of its contract answers peaks, sides as well"
    ):
        opened("detector", path)
