"""What edge/runtime calls of TensorRT and pycuda, and how the real releases declare it.

    python tests/edge/runtime/bindings.py WHEEL_OR_MODULE... [--pycuda wrap_cudadrv.cpp]

prints the declarations as JSON, for bindings.json beside it. A module such as tensorrt_rtx_bindings is imported. Of
a wheel of the bindings alone (1 MB; the libraries have gigabytes) every missing library is replaced by one that only
has the names: the declarations live in the bindings. pycuda is read from the C++ of its source package.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

ALWAYS = [
    "Builder.__init__",
    "Builder.create_network",
    "Builder.create_builder_config",
    "Builder.create_optimization_profile",
    "Builder.build_serialized_network",
    "IBuilderConfig.add_optimization_profile",
    "IBuilderConfig.set_memory_pool_limit",
    "IBuilderConfig.builder_optimization_level",
    "IBuilderConfig.set_flag",
    "IBuilderConfig.clear_flag",
    "IBuilderConfig.set_preview_feature",
    "IBuilderConfig.default_device_type",
    "IBuilderConfig.DLA_core",
    "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.set_timing_cache",
    "ITimingCache.serialize",
    "IOptimizationProfile.set_shape",
    "INetworkDefinition.num_layers",
    "INetworkDefinition.get_layer",
    "INetworkDefinition.num_inputs",
    "INetworkDefinition.get_input",
    "ILayer.type",
    "ILayer.num_outputs",
    "ILayer.get_output",
    "ITensor.name",
    "ITensor.dtype",
    "OnnxParser.__init__",
    "OnnxParser.parse",
    "OnnxParser.num_errors",
    "OnnxParser.get_error",
    "ParserError.desc",
    "BuilderFlag.TF32",
    "BuilderFlag.GPU_FALLBACK",
    "MemoryPoolType.WORKSPACE",
    "DeviceType.DLA",
    "LayerType.QUANTIZE",
    "LayerType.DEQUANTIZE",
    "PreviewFeature",
]
"""Of the builder, in every release."""

RUN = [
    "Runtime.__init__",
    "Runtime.deserialize_cuda_engine",
    "ILogger.__init__",
    "ILogger.log",
    "ILogger.Severity",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.num_io_tensors",
    "ICudaEngine.get_tensor_name",
    "ICudaEngine.get_tensor_dtype",
    "IExecutionContext.set_input_shape",
    "IExecutionContext.get_tensor_shape",
    "IExecutionContext.set_tensor_address",
    "IExecutionContext.execute_async_v3",
    "DataType.UINT8",
    "DataType.FLOAT",
    "DataType.HALF",
]
"""Of the runtime, in every release and in the lean one."""

ASKED = [
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    "BuilderFlag.FP16",
    "BuilderFlag.INT8",
    "PreviewFeature.PROFILE_SHARING_0806",
    "IProgressMonitor.__init__",
    "IProgressMonitor.phase_start",
    "IProgressMonitor.phase_finish",
    "IProgressMonitor.step_complete",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ComputeCapability.SM86",
    "ComputeCapability.SM89",
]
"""What only some releases have: the code asks before it uses it."""

PYCUDA = [
    "init",
    "Device.count",
    "Device.name",
    "Device.compute_capability",
    "Device.get_attribute",
    "Device.retain_primary_context",
    "Context.push",
    "Context.pop",
    "Context.detach",
    "Stream.__init__",
    "Stream.synchronize",
    "Stream.handle",
    "device_attribute.INTEGRATED",
    "device_attribute.CAN_MAP_HOST_MEMORY",
    "host_alloc_flags.DEVICEMAP",
    "pagelocked_empty",
    "HostPointer.get_device_pointer",
    "PagelockedHostAllocation.free",
    "mem_alloc",
    "DeviceAllocation.free",
    "DeviceAllocation.__int__",
    "memcpy_htod_async",
    "memcpy_dtoh_async",
    "mem_get_info",
    "Error",
    "MemoryError",
    "LogicError",
    "LaunchError",
]


def declarations(module: Any, names: list[str]) -> dict[str, str | None]:
    """Return how a module declares each name: a signature, `value` or `property`, None where it has none."""
    found: dict[str, str | None] = {}
    for name in names:
        target: Any = module
        for part in name.split("."):
            target = getattr(target, part, None)
        if target is None:
            found[name] = None
        elif isinstance(target, property):
            found[name] = "property"
        elif callable(target) and not isinstance(target, type):
            found[name] = _signature(target.__doc__ or "", name.split(".")[-1])
        else:
            found[name] = "value"
    return found


def _signature(text: str, name: str) -> str:
    line = next((line for line in text.splitlines() if re.match(rf"(\d\. )?{name}\(.*->", line.strip())), None)
    if line is None:
        return "callable"  # declared by the class that overrides it
    line = re.sub(r"^\d\. ", "", line.strip())
    line = re.sub(r"(tensorrt\w*\.)+", "", line)
    return re.sub(r"typing\.Supports(?:Int|Index)|typing\.Supports(Float)", "int", line).replace(
        "typing_extensions.Buffer", "buffer"
    )


def of_wheel(wheel: Path) -> dict[str, str | None]:
    """Declare what the bindings in a wheel have, in a process of its own with libraries that hold names only."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        zipfile.ZipFile(wheel).extractall(place)
        library = next(path for path in place.rglob("*.so") if "bindings" in str(path))
        needed = re.findall(r"NEEDED.*\[(libnv.*?)\]", _output("readelf", "-d", str(library)))
        symbols = [line.split()[-1] for line in _output("nm", "-D", "--undefined-only", str(library)).splitlines()]
        source = place / "names.c"
        ours = [symbol for symbol in symbols if re.fullmatch(r"(create|get|init|_ZN)\w*", symbol)]
        source.write_text("\n".join(f"char {symbol}[4096];" for symbol in ours), "utf-8")
        for name in needed:
            subprocess.run(
                ["gcc", "-shared", "-fPIC", "-w", "-o", place / name, source, f"-Wl,-soname,{name}"], check=True
            )
        text = _output(
            "env", f"LD_LIBRARY_PATH={place}", f"PYTHONPATH={place}", sys.executable, __file__, library.parent.name
        )
        values: dict[str, dict[str, str | None]] = json.loads(text)
        return next(iter(values.values()))


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def of_pycuda(source: Path) -> dict[str, str | None]:
    """Read pycuda's C++ wrapper: the arguments each name is declared with, in the order of its keywords."""
    text = source.read_text("utf-8")
    blocks: dict[str, str] = {}
    for part in re.split(r"py::(?:class_|enum_)<", text)[1:]:
        named = re.search(r'\("(\w+)"|^[^;]*?"(\w+)"', part)
        if named:
            blocks.setdefault(named[1] or named[2], part)
    found: dict[str, str | None] = {}
    for name in PYCUDA:
        owner, _, member = name.rpartition(".")
        where = blocks.get(owner, "") if owner else text
        found[name] = _boost(where, member)
    return found


def _boost(where: str, member: str) -> str | None:
    if member == "__init__":
        return ", ".join(re.findall(r'py::arg\("(\w+)"\)', where.split(".DEF")[0]))
    if re.search(rf"DEF_SIMPLE_(?:METHOD|FUNCTION)\({member}\)|DECLARE_EXC\({member},", where):
        return ""
    if re.search(rf'(?:value|attr)\("{member}"', where) or f'add_property("{member}"' in where:
        return "value"
    match = re.search(rf'(?:\.def|py::def)\("{member}",(.*?)(?:\n\s*\.|;)', where, re.S)
    if match is None:
        return None
    return ", ".join(name for name in re.findall(r'"(\w+)"', match[1].replace('="C"', "")) if name != "self")


def main() -> None:
    """Print the declarations of what is named on the command line."""
    written: dict[str, dict[str, str | None]] = {}
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "--pycuda":
            written["pycuda"] = of_pycuda(Path(next(arguments)))
        elif argument.endswith(".whl"):
            written["-".join(Path(argument).name.split("-")[:2])] = of_wheel(Path(argument))
        else:
            module = import_module(argument)
            names = RUN if not hasattr(module, "Builder") else [*ALWAYS, *RUN, *ASKED]
            written[f"{argument}-{module.__version__}"] = declarations(module, names)
    print(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
