"""What a bundle consists of: a bill of materials (CycloneDX 1.6) and the licences, from its wheels alone.

    python systemd/bill_of_materials.py WHEELS FOLDER

Writes FOLDER/bill-of-materials.cdx.json and FOLDER/THIRD-PARTY-NOTICES.txt. Needs `cyclonedx-python-lib`. Nothing of a
wheel is run, so the wheels may be for another machine.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

_TEXT = re.compile(r"\.dist-info/(licen[sc]es?/.*|(licen[sc]e|copying|notice|authors)[^/]*)$", re.IGNORECASE)
"""Files of a wheel in which its licences stand."""

SELF = "sicklescope"


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel: what its metadata says, its digest, and its licence texts by name."""

    metadata: Message
    sha256: str
    texts: dict[str, str]

    @property
    def name(self) -> str:
        """Name as on the index."""
        return str(self.metadata["Name"])

    @property
    def version(self) -> str:
        """Version."""
        return str(self.metadata["Version"])

    @property
    def key(self) -> str:
        """Name as requirements are compared by."""
        return _key(self.name)

    @property
    def requires(self) -> list[str]:
        """Keys of what it may require, optional packages among them."""
        return [
            _key(re.split(r"[^\w.-]", str(one), maxsplit=1)[0]) for one in self.metadata.get_all("Requires-Dist", [])
        ]

    @property
    def licence(self) -> str:
        """What it says of its licence: an expression, else its classifiers, else its own short words."""
        expression = self.metadata["License-Expression"]
        classifiers = [
            str(one).rpartition(" :: ")[2]
            for one in self.metadata.get_all("Classifier", [])
            if str(one).startswith("License :: ") and str(one) != "License :: OSI Approved"
        ]
        stated = str(self.metadata["License"] or "").strip()
        own = stated if len(stated) < 100 and "\n" not in stated else ""
        return str(expression or " AND ".join(classifiers) or own or "not stated")


def read_wheel(path: Path) -> Wheel:
    """Read a wheel without unpacking it."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (place,) = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        metadata = BytesParser().parsebytes(archive.read(place))
        texts = {name: archive.read(name).decode("utf-8", "replace") for name in sorted(names) if _TEXT.search(name)}
    return Wheel(metadata, hashlib.sha256(path.read_bytes()).hexdigest(), texts)


def bill_of_materials(wheels: list[Wheel]) -> str:
    """Return the bill as JSON of CycloneDX 1.6; the program is what it is of."""
    licences = LicenseFactory()
    bom = Bom()
    components: dict[str, Component] = {}
    for wheel in wheels:
        kind = ComponentType.APPLICATION if wheel.name == SELF else ComponentType.LIBRARY
        licence = licences.make_from_string(wheel.licence) if wheel.licence != "not stated" else None
        component = Component(
            name=wheel.name, version=wheel.version, type=kind, bom_ref=f"{wheel.name}=={wheel.version}",
            purl=PackageURL("pypi", None, wheel.name.lower(), wheel.version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
            licenses=[licence or DisjunctiveLicense(name="not stated")],
        )  # fmt: skip
        components[wheel.key] = component
        if wheel.name == SELF:
            bom.metadata.component = component
        else:
            bom.components.add(component)
    for wheel in wheels:
        bom.register_dependency(
            components[wheel.key], [components[one] for one in wheel.requires if one in components and one != wheel.key]
        )
    made: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return f"{made}\n"


def notices(wheels: list[Wheel]) -> str:
    """Return every package with its licence and the texts that its wheel carries."""
    parts = ["What sicklescope is delivered with, and under which terms. Each text is as its package carries it.\n"]
    for wheel in wheels:
        if wheel.name == SELF:
            continue
        parts.append(f"{'=' * 78}\n{wheel.name} {wheel.version}: {wheel.licence}\n{'=' * 78}\n")
        parts += [f"--- {name.partition('/')[2]}\n{text.rstrip()}\n" for name, text in wheel.texts.items()]
        if not wheel.texts:
            parts.append("(the wheel carries no text of a licence)\n")
    return "\n".join(parts)


def main(wheels: str, folder: str) -> None:
    """Write both files."""
    read = sorted((read_wheel(path) for path in Path(wheels).glob("*.whl")), key=lambda one: one.name.lower())
    Path(folder, "bill-of-materials.cdx.json").write_text(bill_of_materials(read), "utf-8")
    Path(folder, "THIRD-PARTY-NOTICES.txt").write_text(notices(read), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
