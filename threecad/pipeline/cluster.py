"""A Dask cluster as the team that converts: one on this machine, or one that runs, however it was deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threecad.errors import ConfigError
from threecad.pipeline.engines import Team


@contextmanager
def joined(address: str, workers: int) -> Iterator[Team]:
    """The workers behind a scheduler's address; without one, so many processes on this machine, which end with the run."""
    try:
        import distributed
    except ImportError:
        raise ConfigError("engine dask: expected Dask, found none; pip install 'threecad[cluster]'") from None
    lost = (distributed.KilledWorker,)
    if not address:
        with (
            distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield Team(client.get_executor(pure=False), lambda: workers, lost)
        return
    try:
        client = distributed.Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise ConfigError(f"engine dask:{address}: expected a scheduler there, found none ({error})") from None
    with client:
        yield Team(client.get_executor(pure=False), lambda: sum(client.nthreads().values()), lost)
