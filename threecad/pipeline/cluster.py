"""A Dask cluster as the team that converts: one on this machine, or one that runs, however it was deployed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threecad import __version__
from threecad.errors import ConfigError, ThreecadError
from threecad.pipeline.engines import Team

if TYPE_CHECKING:
    import distributed

ANSWER = 10
"""Seconds in which a scheduler has to answer."""
ASK_EVERY = 5.0
"""Seconds between two looks at how many workers there are."""
PATIENCE = 60
"""Seconds in which a cluster that runs has to show a worker."""


@contextmanager
def joined(address: str, workers: int) -> Iterator[Team]:
    """The workers behind a scheduler's address; without one, so many processes on this machine, which end with the run."""
    try:
        import distributed
    except ImportError:
        raise ConfigError("engine dask: expected Dask, found none; pip install 'threecad[cluster]'") from None
    lost = (distributed.KilledWorker,)
    if not address:
        try:
            own = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        except (OSError, RuntimeError) as error:
            raise ThreecadError(f"engine dask: its {workers} worker processes could not be started ({error})") from error
        with own as cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield Team(client.get_executor(pure=False), lambda: workers, lost)
        return
    try:
        client = distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"engine dask:{address}: expected a scheduler there, found none ({error})") from None
    with client:
        _refuse_strangers(client, address)
        yield Team(client.get_executor(pure=False), _size(client), lost)


def _size(client: distributed.Client) -> Callable[[], int]:
    """How many sources the workers take at a time, asked now and then: it is a question to the scheduler."""
    known, asked = 0, 0.0

    def size() -> int:
        nonlocal known, asked
        if not known or time.monotonic() - asked > ASK_EVERY:
            known, asked = sum(client.nthreads().values()), time.monotonic()
        return known

    return size


def _refuse_strangers(client: distributed.Client, address: str) -> None:
    """Raise ConfigError where no worker comes, or where one has another threecad: its tiles might be others."""
    wanted = f"expected threecad {__version__} on every worker"
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        found = set(client.run(_version).values())
    except TimeoutError:
        raise ConfigError(f"engine dask:{address}: expected a worker within {PATIENCE} s, found none") from None
    except ImportError as error:
        raise ConfigError(f"engine dask:{address}: {wanted}, found none ({error})") from None
    if others := sorted(found - {__version__}):
        raise ConfigError(f"engine dask:{address}: {wanted}, found {', '.join(others)}")


def _version() -> str:
    return __version__
