"""From an fp32 model to its two INT8 files, or to a report that says why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx

from calibration.int8.agreement import InMemoryNetwork
from calibration.int8.calibration_batches import FIELDS_MIN, gathered, too_few
from calibration.int8.calibration_set import candidates, evaluation_list, manifest
from calibration.int8.gate import Limits, Thresholds, Verdict, judged, rechosen
from calibration.int8.gate_list import GatePicture, read_gate_list
from calibration.int8.onnx_graph import load, with_contract
from calibration.int8.paired_predictions import read_both
from calibration.int8.prepared_fields import FieldReader
from calibration.int8.processor.first_layer import patch_moments
from calibration.int8.processor.form import processor_form
from calibration.int8.quantise import planned
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
    keep_fp16: tuple[str, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    fields: int = FIELDS_MIN
    um_per_px: float | None = None
    force: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it: the files, and what was left undone to be told."""

    files: tuple[Path, ...]
    warning: str | None


@dataclass(frozen=True, slots=True)
class _Form:
    """A form that is written: its file, the layers that it keeps, and how it is made of TensorRT's graph."""

    path: Path
    keep: tuple[str, ...]
    build: Callable[[onnx.ModelProto], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class _Gated:
    """What the gate said of a form. data: of the file that may be written."""

    data: bytes
    verdict: Verdict
    report: dict[str, Any]


def int8_model(options: Int8Options, progress: ReportProgress) -> Written:
    """Calibrate, quantise, measure and write both forms.

    Raises GateError after the reports when the gate refuses one of them.

    Raises InputError, ModelError, ConfigError, StorageError.
    """
    if options.output.suffix != ".onnx":
        raise ConfigError(f"output {options.output} must end in .onnx: its twin and report are named after it")
    model, contract = load(options.model)
    for names in (options.keep_fp16, options.keep_fp32):
        planned(model, _named(names))  # a wrong name is told before the work begins
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
    moments = patch_moments(material.ranges)
    more = {
        "role": contract.role,
        "fp32_sha256": sha256_file(options.model),
        "partner": partner.contract.name + " " + partner.contract.version,
        "calibrated_on": {"pictures": len(material.ranges), "forced": bool(warning), "left_out": material.left_out},
    }
    forms = (
        _Form(options.output, options.keep_fp16, lambda graph: graph),
        _Form(options.output.with_suffix(".cpu.onnx"), options.keep_fp32, lambda graph: processor_form(graph, moments)),
    )
    gated = {}
    for form in forms:
        search = Search(model, contract, ranges, material.agreement, form.build, progress)
        gated[form.path] = _gated(form, search, pictures, fp32, partner, options.limits)
    texts, files = {}, {}
    for path, one in gated.items():
        report = {**more, **one.report}
        digest = hashlib.sha256(one.data).hexdigest()
        texts[path.with_suffix(".json")] = as_json(one.verdict, options.limits, digest, report).encode()
        texts[path.with_suffix(".md")] = as_markdown(path.name, one.verdict, options.limits, report).encode()
        files[path] = one.data
    used = manifest(material.chosen, material.use, material.cells, found)
    texts[options.output.with_suffix(".manifest.json")] = used.encode()
    refused = {path: one.verdict.reasons for path, one in gated.items() if not one.verdict.passed}
    _write(options.output.parent, texts if refused else {**texts, **files})
    if refused:
        said = "; ".join(f"{path.name}: {', '.join(reasons)}" for path, reasons in refused.items())
        pages = " and ".join(str(path.with_suffix(".md")) for path in refused)
        raise GateError(
            f"INT8 form of {options.model} refused: {said}. No model was written; {pages} has the figures and the "
            "layers to name with --keep-fp16 or, for processors, --keep-fp32 (or auto)"
        )
    return Written((*files, *texts), warning)


def _gated(
    form: _Form, search: Search, pictures: Sequence[GatePicture], fp32: Network, partner: Network, limits: Limits
) -> _Gated:
    """Choose ranges and layers of a form, and let the gate measure it."""
    named, contract = _named(form.keep), fp32.contract
    methods = search.methods(named)
    method = next(iter(methods))
    layers = search.layers(method)
    worst = search.kept(method, layers, limits.changed / 100) if AUTO in form.keep else ()
    kept = tuple(dict.fromkeys((*named, *worst)))
    if worst:
        methods = search.methods(kept)  # with them out of the way, other ranges may be the best
        method = next(iter(methods))
    graph = search.graph(method, kept)
    rows, left_out = read_both(pictures, fp32, InMemoryNetwork(graph, contract), partner, Config(), search.progress)
    before = _thresholds(contract, partner.contract)
    after = rechosen(rows, contract, before)
    changed = {name: value for name, value in asdict(after).items() if name in contract.thresholds}
    written = contract.model_copy(update={"precision": "int8", "thresholds": {**contract.thresholds, **changed}})
    measured = sum(row.picture.part == "measure" for row in rows)
    report = {
        "method": method,
        "kept": kept,
        "thresholds": f"score {before.score:g} → {after.score:g}, sickle {before.sickle:g} → {after.sickle:g}",
        "pictures": {"measured": measured, "of": len(rows), "refused": dict(left_out)},
        "methods": plain(methods),
        "layers": plain(layers),
    }
    return _Gated(with_contract(graph, written), judged(rows, before, after, limits), report)


def _named(keep: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that are named, `auto` left out."""
    return tuple(name for name in keep if name != AUTO)


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
