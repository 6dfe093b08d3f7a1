"""A Ray cluster for one scan: one that runs already, or one on this computer that ends with the scan."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.batch.reading.workers import cores
from edge.batch.stopping import signals_kept
from edge.config.environment import set_defaults
from edge.errors import EdgeError, RuntimeUnavailableError

BUSY = {
    "RAY_worker_register_timeout_seconds": "600", "RAY_gcs_server_port_wait_time_s": "300", "RAY_worker_niceness": "0",
}  # fmt: skip
"""For a busy computer. Ray's own 60 s are too short for its processes to begin there: it ends each and begins another,
for ever, and the scan stands still. And Ray gives way to every other program (niceness 15)."""

STARTS = 3
"""Times that Ray is started on this computer: its own limits of 15 and 30 s are too short for a busy one."""


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Give the `ray` package, connected to a cluster.

    Args:
        address: of a cluster that runs; None to start one on this computer, which only this user can talk to.

    Raises:
        RuntimeUnavailableError: Ray is not installed.
        EdgeError: The cluster does not answer, or Ray does not start.
    """
    # Before the import, which reads them: no statistics are sent anywhere, and Ray's ports, which are open to the
    # network and run what they are sent, answer nobody who does not know the token.
    wanted = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is None:
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **BUSY}
    set_defaults(wanted)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"engine ray needs Ray Data: pip install 'sicklescope[ray]' ({error}). Or leave --engine out"
        ) from error
    with signals_kept():
        begun = _begin(ray, address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray
    finally:
        if begun:
            ray.shutdown()


def _begin(ray: Any, address: str | None) -> bool:
    """Connect; return whether there was no connection before, so that it is ours to end."""
    if ray.is_initialized():
        return False
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EdgeError(
                f"no Ray cluster lets this program in at {address}: {error.__cause__ or error}. Give the address that "
                "`ray start --head` printed, and the cluster's token (RAY_AUTH_MODE=token) where it has one"
            ) from error
        return True
    for left in reversed(range(STARTS)):
        try:
            ray.init("local", num_cpus=cores(), include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        except Exception as error:
            # Ray raises a plain Exception where one of its processes came too late.
            ray.shutdown()
            if not left:
                raise EdgeError(f"Ray cannot be started on this computer: {error}. Or leave --engine out") from error
        else:
            return True
    raise AssertionError("unreachable")
