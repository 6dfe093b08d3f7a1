"""The file of a bundle: a line, the manifest, then the parts one after another. There are no names of files in it.

    sicklescope-bundle/1 <bytes of the manifest> <signature, hexadecimal, or ->
    <manifest, JSON><detector's model><its report><classifier's model><its report>

The signature (Ed25519) is of the first word, a line feed and the manifest, which holds the digest of each part.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from edge.bundle.manifest import Manifest
from edge.errors import ConfigError, InputError, ModelError, first_fault
from edge.system.atomic_files import aside, move, storage_errors

MAGIC = b"sicklescope-bundle/1"
MANIFEST_BYTES_MAX = 64 << 10

_HEADER = re.compile(rb"sicklescope-bundle/1 (\d{1,5}) (-|[0-9a-f]{128})\n")
_HEADER_BYTES_MAX = 256
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose form is right. Nothing of it is to be believed before `check_signature`.

    payload: the manifest as it was signed; offset: where the first part begins in the file.
    """

    path: Path
    manifest: Manifest
    payload: bytes
    signature: bytes
    offset: int

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which names a bundle whoever signed it."""
        return hashlib.sha256(self.payload).hexdigest()


def is_bundle(path: Path) -> bool:
    """Whether a file begins as a bundle does."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_bundle(path: Path) -> Bundle:
    """Read line and manifest of a bundle, and see that the file is as long as they say.

    Raises:
        InputError: It cannot be read, is no bundle, or was cut short or lengthened.
    """
    try:
        with path.open("rb") as file:
            header = _HEADER.match(file.read(_HEADER_BYTES_MAX))
            if header is None:
                raise InputError(f"{path} is no bundle of models. Expected what `sicklescope-fleet bundle make` writes")
            if int(header[1]) > MANIFEST_BYTES_MAX:
                raise InputError(
                    f"{path}: its manifest has {int(header[1])} bytes; at most {MANIFEST_BYTES_MAX} are read"
                )
            file.seek(header.end())
            payload = file.read(int(header[1]))
            size = file.seek(0, 2)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        manifest = Manifest.model_validate_json(payload)
    except ValidationError as error:
        raise InputError(
            f"{path}: its manifest cannot be used: {first_fault(error, 'it')}. Fetch or make it anew"
        ) from error
    offset = header.end() + len(payload)
    expected = offset + sum(part.bytes for part in manifest.parts)
    if size != expected:
        raise InputError(f"{path} has {size} bytes; by its manifest it has {expected}. Fetch or copy it again")
    signature = b"" if header[2] == b"-" else bytes.fromhex(header[2].decode())
    return Bundle(path, manifest, payload, signature, offset)


def signed_bytes(payload: bytes) -> bytes:
    """Return what is signed of a manifest; no other thing that a key may sign begins so."""
    return MAGIC + b"\n" + payload


def check_signature(bundle: Bundle, keys: Sequence[str]) -> str:
    """Return by which of the public keys a bundle was signed.

    Args:
        bundle: to be believed or not.
        keys: Ed25519, raw, in base64.

    Raises:
        ConfigError: There is no key, or one is none.
        ModelError: It is not signed, or by nobody of these.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not keys:
        raise ConfigError(
            "models.accept_from is empty: bundles of nobody are accepted. Set it to the public key of who signs them"
        )
    if not bundle.signature:
        raise ModelError(f"{bundle.path} is not signed. Have it signed: sicklescope-fleet bundle sign")
    for key in keys:
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        except ValueError as error:
            raise ConfigError(f"models.accept_from: {key!r} is no public key ({error})") from error
        try:
            public.verify(bundle.signature, signed_bytes(bundle.payload))
        except InvalidSignature:
            continue
        return key
    raise ModelError(
        f"{bundle.path} was changed, or was signed by nobody of models.accept_from. It is not used; ask who made it"
    )


def extract(bundle: Bundle, folder: Path) -> dict[tuple[str, str], Path]:
    """Write the parts into a folder, by names of our own, and return them by role and kind.

    Raises:
        InputError: A part has another digest than the manifest says.
        StorageError: There is no room.
    """
    found: dict[tuple[str, str], Path] = {}
    with bundle.path.open("rb") as file:
        file.seek(bundle.offset)
        for part in bundle.manifest.parts:
            target = folder / f"{part.role}.{'onnx' if part.kind == 'model' else 'json'}"
            with storage_errors(target), target.open("wb") as out:
                digest = _copy(file, out, part.bytes)
            if digest != part.sha256:
                raise InputError(f"{bundle.path}: its {part.role}'s {part.kind} was changed. Fetch or copy it again")
            found[part.role, part.kind] = target
    return found


def write_bundle(target: Path, payload: bytes, signature: bytes, parts: Sequence[tuple[Path, int]]) -> None:
    """Write a bundle whole or not at all.

    Args:
        target: the file.
        payload: the manifest.
        signature: of `signed_bytes(payload)`; empty for a bundle that is not signed yet.
        parts: files, and where in each its part begins, in the manifest's order.

    Raises:
        StorageError: There is no room.
    """
    manifest = Manifest.model_validate_json(payload)
    with aside(target.absolute().parent) as folder:
        unfinished = folder / target.name
        with storage_errors(target), unfinished.open("wb") as out:
            out.write(b"%s %d %s\n" % (MAGIC, len(payload), signature.hex().encode() or b"-") + payload)
            for (path, offset), part in zip(parts, manifest.parts, strict=True):
                with path.open("rb") as file:
                    file.seek(offset)
                    _copy(file, out, part.bytes)
        move(unfinished, target.absolute())


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> str:
    """Copy so many bytes, and return their SHA-256."""
    digest = hashlib.sha256()
    while size:
        chunk = source.read(min(size, _CHUNK_BYTES))
        if not chunk:
            break  # the file is shorter by now: its digest tells
        digest.update(chunk)
        target.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()
