"""The process that reads files for a scan: begun by `edge.batch.reading.workers`, to which alone it talks.

It ends with its connection, and so with the scan, however that ends.
"""

from __future__ import annotations

import pickle
import signal
from multiprocessing.connection import Connection

import cv2

from edge.batch.field_result import encoded
from edge.batch.reading.journal import Unit
from edge.batch.reading.read_files import FileReader, networks_of, refuse_other_networks, stops_within
from edge.errors import EdgeError
from edge.pipeline import Pipeline

NEW_SAMPLE, STOP = b"new sample", b"stop"
"""What it is told, beside the units to read."""

READY, FIELD, FILE_DONE, ENDED, FAILED = b"R", b"F", b"D", b"E", b"X"
"""How its answers begin: networks loaded; a name, a zero and a field, or nothing; a unit's end; an EdgeError."""


def main(descriptor: int) -> None:
    """Read each unit that comes, until none can come.

    Ctrl-C and SIGTERM are for the scan to obey.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        with Connection(descriptor) as connection:
            try:
                _serve(connection)
            except EdgeError as error:
                connection.send_bytes(FAILED + pickle.dumps(error))
    except (EOFError, OSError):
        return  # The scan has ended.


def _serve(connection: Connection) -> None:
    config, options, networks = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own parent's
    with Pipeline(config) as pipeline:
        refuse_other_networks(networks, networks_of(pipeline))
        connection.send_bytes(READY)
        reader = FileReader(pipeline, options)
        while True:
            message = connection.recv_bytes()
            if message == NEW_SAMPLE:
                reader.new_sample()
            elif message != STOP:  # It may come when the unit that it meant is done.
                _read(connection, reader, pickle.loads(message))  # noqa: S301
                connection.send_bytes(ENDED)


def _read(connection: Connection, reader: FileReader, unit: Unit) -> None:
    for result in reader.read(unit):
        name = str(unit.files[0]) if result is None else result.reading.name
        head = (FILE_DONE if result is None else FIELD) + name.encode("utf-8", "replace") + b"\0"
        connection.send_bytes(head if result is None else head + encoded(result))
        if stops_within(unit) and connection.poll():
            return
