"""Fetches an offered bundle from the one place that the configuration names: a folder, or an address by HTTP(S)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from edge.bundle.offer import Offer
from edge.errors import InputError
from edge.system.atomic_files import storage_errors

TIMEOUT_S = 30.0
"""Without a byte for so long the attempt has failed."""

_CHUNK_BYTES = 1 << 16


def fetch(offer: Offer, source: str, target: Path, stopping: Callable[[], bool] = lambda: False) -> None:
    """Write the offered file to `target`, if size and digest are those of the offer.

    Redirections and proxies are not followed: nothing leads elsewhere than the configuration says.

    Args:
        offer: names a file within the source.
        source: models.fetch_from.
        target: file to write.
        stopping: whether to give up.

    Raises:
        InputError: It is not there, cannot be reached, or is another file.
        StorageError: There is no room.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with _opened(source, offer.file) as file, storage_errors(target), target.open("wb") as out:
            while chunk := _read(file, source):
                size += len(chunk)
                if size > offer.bytes or stopping():
                    break
                digest.update(chunk)
                out.write(chunk)
    except (OSError, HTTPException) as error:
        raise InputError(f"{offer.file} cannot be fetched from {source}: {error}") from error
    if size != offer.bytes or digest.hexdigest() != offer.sha256:
        raise InputError(
            f"{offer.file} of {source} is not the file that was offered: {size} bytes of {offer.bytes} came, or its "
            "digest differs. Put the offered file there, or offer anew"
        )


def _read(file: BinaryIO, source: str) -> bytes:
    """Read on; a failure of the source is no failure of the disk."""
    try:
        return file.read(_CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise InputError(f"{source} broke off: {error}") from error


@contextmanager
def _opened(source: str, name: str) -> Iterator[BinaryIO]:
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https"):
        with Path(source, name).open("rb") as file:
            yield file
        return
    host = parts.hostname or ""
    connection = (
        HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    )
    with closing(connection):
        connection.request("GET", f"{parts.path.rstrip('/')}/{name}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise InputError(f"{source} answered {answer.status} {answer.reason} to {name}. Expected the file itself")
        yield cast(BinaryIO, answer)
