"""What goes wrong on the way to a store is judged here: what may pass is tried again, later and later; what will not is told.

A file that is gone is a FileNotFoundError, as on a disk; all else is one sentence.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from threecad.errors import ConfigError, LayoutError, ThreecadError

Result = TypeVar("Result")

WAITS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds, about, before each further try of what may pass: half a minute in all, after those that fsspec's own layers make."""

AT_ONCE = 32
"""Requests under way at the same time, at most: a store answers each after some 20 ms, and would be idle in between."""

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "ExpiredAccessToken"})

PASSING = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "IncompleteBody", "BadDigest"),
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "XAmzContentSHA256Mismatch"),
        *("429", "500", "502", "503", "504"),
    }
)

_PASSING_ERRNOS = frozenset(
    {errno.EBUSY, errno.EIO, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH}
    | {getattr(errno, "EREMOTEIO", errno.EIO)}
)

_FOREIGN = (
    ("botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("aiohttp", ("ClientError",)),
    ("azure.core.exceptions", ("AzureError",)),
    ("google.auth.exceptions", ("GoogleAuthError",)),
    ("paramiko.ssh_exception", ("SSHException",)),
)
"""What the libraries below fsspec raise that is no OSError."""


class StoreError(ThreecadError):
    """A store that cannot be reached, or that refuses. What was finished is kept."""


class Truncated(ConnectionError):
    """Fewer bytes came than were announced."""


def asked(what: object, call: Callable[[], Result]) -> Result:
    """What a request to a store brings; it is made again while what went wrong may pass.

    `what` is the file or folder that a sentence will name. Raises FileNotFoundError and FileExistsError, about that file;
    LayoutError where there is no such bucket; and StoreError for all else that a store, or the way to it, can do. None of them
    quotes what the store said, which may hold a key or a signature: they tell its code.
    """
    for wait in (*(() if getattr(_HASTE, "on", False) else WAITS), None):
        try:
            return call()
        except _faults() as error:
            code = _code(error)
            if isinstance(error, FileExistsError) or (isinstance(error, FileNotFoundError) and code != "NoSuchBucket"):
                raise type(error)(error.errno or errno.ENOENT, os.strerror(error.errno or errno.ENOENT), str(what)) from None
            if wait is None or not _passes(error, code):
                raise _sentence(str(what), error, code) from None
        time.sleep(wait * (0.5 + time.monotonic_ns() % 1000 / 1000))  # not all threads at the same moment
    raise AssertionError


_HASTE = threading.local()


@contextmanager
def hastily() -> Iterator[None]:
    """Within this, this thread tries everything once only: a run that ends does not wait for what does not matter any more."""
    _HASTE.on = True
    try:
        yield
    finally:
        _HASTE.on = False


def _faults() -> tuple[type[BaseException], ...]:
    """What may come of talking to a store: the exceptions of libraries that are in use have to be looked for."""
    found: list[type[BaseException]] = [OSError, EOFError, NotImplementedError]
    for module, names in _FOREIGN:
        if (loaded := sys.modules.get(module)) is not None:
            found += [getattr(loaded, name) for name in names]
    return tuple(found)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _code(error: BaseException) -> str:
    """The store's own word for what happened, the number of an HTTP status, or the name of the exception."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        told = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if told is None:
            status = getattr(each, "status", None) or getattr(each, "code", None)
            told = status if isinstance(status, int) and 100 <= status < 600 else None
        if told is not None and re.fullmatch(r"[\w.-]{1,60}", str(told)):
            return str(told)
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    return type(error).__name__


def _passes(error: BaseException, code: str) -> bool:
    """Whether the same request may succeed a little later."""
    if code in PASSING:
        return True
    if code in _EXPIRED or isinstance(error, PermissionError):
        return False
    names = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    if names & {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError", "ResponseParserError"}:
        return True
    if names & {"ClientPayloadError", "ClientConnectionError", "TimeoutError", "EOFError", "ServiceRequestError"}:
        return True
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNOS


def _sentence(what: str, error: BaseException, code: str) -> ThreecadError:
    names = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    again = "what is finished is kept, run the same command again"
    if isinstance(error, NotImplementedError) or code in ("405", "501", "MethodNotAllowed", "NotImplemented"):
        return ConfigError(f"{what}: nothing can be written to such places, only read")
    if code == "NoSuchBucket":
        return LayoutError(f"{what}: there is no such bucket")
    if "ParamValidationError" in names or code == "InvalidBucketName":
        return ConfigError(f"{what}: the store takes no such name")
    if code in _EXPIRED or names & {"SSOTokenLoadError", "UnauthorizedSSOTokenError", "TokenRetrievalError", "RefreshError"}:
        return StoreError(f"{what}: the credentials have expired; renew them: {again}")
    if any("Credential" in name or "NoAuthToken" in name for name in names):
        return StoreError(f"{what}: found no credentials where fsspec looks for them (its configuration, the environment)")
    if isinstance(error, PermissionError) or code in ("401", "403", "AccessDenied"):
        return StoreError(f"{what}: access is denied ({code}); {again} when these credentials may read and write there")
    if _passes(error, code):
        return StoreError(f"{what}: the store does not answer as it should, also after {len(WAITS) + 1} tries ({code}); {again}")
    return StoreError(f"{what}: the store refuses ({code}); {again}")
