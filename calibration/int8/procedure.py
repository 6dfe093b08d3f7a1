"""From an fp32 model to its two INT8 files, or to a report that says why not."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calibration.int8.agreement import InMemoryNetwork
from calibration.int8.calibration_batches import FIELDS_MIN, gathered, too_few
from calibration.int8.calibration_set import candidates, evaluation_list, manifest
from calibration.int8.gate import Limits, Thresholds, Verdict, judged, rechosen
from calibration.int8.gate_list import read_gate_list
from calibration.int8.onnx_graph import load, with_contract
from calibration.int8.paired_predictions import read_both
from calibration.int8.prepared_fields import FieldReader
from calibration.int8.quantise import planned, signed, unsigned
from calibration.int8.ranges import found_ranges
from calibration.int8.report import as_json, as_markdown, plain
from calibration.int8.search import Search
from edge.config.model import Config, OpticsConfig
from edge.errors import ConfigError, EdgeError, InputError
from edge.runtime.base import Network
from edge.runtime.contract import Contract, Role
from edge.runtime.registry import open_network
from edge.system.atomic_files import aside, move, storage_errors
from edge.system.digest import sha256_file
from edge.system.progress_bars import ReportProgress

AUTO = "auto"


class GateError(EdgeError):
    """The INT8 network lost too much; no model was written."""

    exit_code = 9


@dataclass(frozen=True, slots=True)
class Int8Options:
    """What is asked: see the options of `sicklescope-calibrate int8`."""

    model: Path
    pictures: tuple[Path, ...]
    by_folder: bool
    output: Path
    gate: Path
    partner: Path | None = None
    evaluation: Path | None = None
    keep: tuple[str, ...] = ()
    fields: int = FIELDS_MIN
    um_per_px: float | None = None
    force: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it: the verdict, the files, and what was left undone to be told."""

    verdict: Verdict
    files: tuple[Path, ...]
    warning: str | None


def int8_model(options: Int8Options, progress: ReportProgress) -> Written:
    """Calibrate, quantise, measure and write.

    Raises GateError after the report when the gate refuses the network.

    Raises InputError, ModelError, ConfigError, StorageError.
    """
    if options.output.suffix != ".onnx":
        raise ConfigError(f"output {options.output} must end in .onnx: its twin and report are named after it")
    model, contract = load(options.model)
    named = tuple(name for name in options.keep if name != AUTO)
    planned(model, named)  # a wrong name is told before the work begins
    pictures = read_gate_list(options.gate)
    listed = evaluation_list(options.evaluation) if options.evaluation else frozenset()
    fp32 = InMemoryNetwork(model, contract)
    partner = _partner(options.partner, contract)
    device = Config(optics=OpticsConfig(um_per_px="auto" if options.um_per_px is None else options.um_per_px))
    networks = (fp32, partner) if contract.role == "detector" else (partner, fp32)
    reader = FieldReader(device, *networks)
    evaluated = listed | {one.sha256 for one in pictures}
    found = candidates(options.pictures, options.by_folder, evaluated, progress)
    material = gathered(found, reader, contract.role, contract.size, options.fields, progress)
    warning = too_few(material, contract.role)
    if warning and not options.force:
        raise InputError(warning)
    batches = material.batches(material.ranges)
    ranges = found_ranges(model, planned(model).tensors, batches, lambda n: progress("ranges", n, n))
    search = Search(model, contract, ranges, material.agreement, progress)
    methods = search.methods(named)
    method = next(iter(methods))
    layers = search.layers(method)
    worst = search.kept(method, layers, options.limits.changed / 100) if AUTO in options.keep else ()
    kept = tuple(dict.fromkeys((*named, *worst)))
    if worst:
        methods = search.methods(kept)  # with them out of the way, other ranges may be the best
        method = next(iter(methods))
    quantised = signed(model, planned(model, kept), ranges[method])
    int8 = InMemoryNetwork(unsigned(quantised), contract)
    rows, refused = read_both(pictures, fp32, int8, partner, Config(), progress)
    before = _thresholds(contract, partner.contract)
    after = rechosen(rows, contract, before)
    verdict = judged(rows, before, after, options.limits)
    changed = {name: value for name, value in asdict(after).items() if name in contract.thresholds}
    written = contract.model_copy(update={"precision": "int8", "thresholds": {**contract.thresholds, **changed}})
    twin = options.output.with_suffix(".cpu.onnx")
    files = {options.output: with_contract(quantised, written), twin: with_contract(unsigned(quantised), written)}
    more: dict[str, Any] = {
        "role": contract.role,
        "fp32_sha256": sha256_file(options.model),
        "partner": partner.contract.name + " " + partner.contract.version,
        "method": method,
        "kept": kept,
        "thresholds": f"score {before.score:g} → {after.score:g}, sickle {before.sickle:g} → {after.sickle:g}",
        "pictures": {
            "measured": sum(row.picture.part == "measure" for row in rows),
            "of": len(rows),
            "refused": dict(refused),
        },
        "calibrated_on": {"pictures": len(material.ranges), "forced": bool(warning), "left_out": material.left_out},
        "methods": plain(methods),
        "layers": plain(layers),
    }
    texts = {
        path.with_suffix(".json"): as_json(verdict, options.limits, hashlib.sha256(data).hexdigest(), more)
        for path, data in files.items()
    }
    texts[options.output.with_suffix(".md")] = as_markdown(options.output.name, verdict, options.limits, more)
    texts[options.output.with_suffix(".manifest.json")] = manifest(material.chosen, material.use, material.cells, found)
    _write(options.output.parent, {**{p: t.encode() for p, t in texts.items()}, **(files if verdict.passed else {})})
    if not verdict.passed:
        raise GateError(
            f"INT8 form of {options.model} refused: {'; '.join(verdict.reasons)}. No model was written; "
            f"{options.output.with_suffix('.md')} has the figures and the layers to name with --keep-fp16 (or auto)"
        )
    return Written(verdict, (*files, *texts), warning)


def _partner(path: Path | None, contract: Contract) -> Network:
    """Return the fp32 network of the other role: that of a file, or the chosen or shipped one of this device."""
    role: Role = "classifier" if contract.role == "detector" else "detector"
    if path is None:
        return open_network(role, Config().models.model_copy(update={"precision": "fp32"}))
    model, its = load(path)
    if its.role != role:
        raise InputError(f"{path} is a {its.role}; beside a {contract.role} a {role} is needed")
    return InMemoryNetwork(model, its)


def _thresholds(one: Contract, other: Contract) -> Thresholds:
    both = {**one.thresholds, **other.thresholds}
    return Thresholds(both["score"], both["sickle"], both["abstain"])


def _write(folder: Path, files: dict[Path, bytes]) -> None:
    """Write all files aside, then rename them; models last, so that none lies there without its report."""
    with aside(folder) as unfinished:
        for path, data in files.items():
            with storage_errors(path):
                (unfinished / path.name).write_bytes(data)
        for path in files:
            move(unfinished / path.name, path)
