"""What fsspec's file systems do differently, one from the other."""

from __future__ import annotations

from typing import Any

from threecad.formats.remote.asking import AT_ONCE


def options(url: str) -> dict[str, Any]:
    """How we want an S3 client besides what the user's own configuration says: room for our threads, and no tries below ours."""
    if not url.startswith(("s3://", "s3a://")):
        return {}
    from fsspec.config import conf

    own = conf.get(url.partition("://")[0], {}).get("config_kwargs")
    tuned = {"max_pool_connections": AT_ONCE, "retries": {"mode": "standard", "total_max_attempts": 1}}
    return {"use_listings_cache": False, "config_kwargs": tuned | (own if isinstance(own, dict) else {})}


_KEPT: dict[int, tuple[Any, Any]] = {}


def keep(fs: Any) -> None:
    """Let no file system that talks in the background be disposed of, above all not in a process that was forked off: there it
    would take its connections out of the list of those that this process waits for, which both share."""
    if fs.async_impl:
        _KEPT[id(fs)] = fs, fs.loop
        fs.loop.call_soon_threadsafe(fs.loop.set_exception_handler, _unheard)


def _unheard(loop: Any, context: dict[str, Any]) -> None:
    """Say nothing of a connection that broke while something was written to it: whoever asked has been told, and tries again."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def ls(fs: Any, folder: str) -> list[dict[str, Any]]:
    """What lies in a folder now, whatever the file system remembers of it."""
    fs.invalidate_cache(folder)
    return list(fs.ls(folder, detail=True))


def prune(fs: Any, folder: str) -> None:
    for info in ls(fs, folder):
        if info["type"] == "directory" and str(info["name"]).startswith(f"{folder}/"):
            prune(fs, str(info["name"]))
    if not ls(fs, folder):
        fs.rmdir(folder)


def rename(fs: Any, here: str, there: str) -> None:
    from fsspec import AbstractFileSystem

    if type(fs).mv is AbstractFileSystem.mv:  # which takes names for patterns
        fs.cp_file(here, there)
        fs.rm_file(here)
    else:
        fs.mv(here, there)
