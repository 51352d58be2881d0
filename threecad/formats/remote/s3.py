"""What is asked of S3 itself, past what fsspec makes of it: a page at a time, a file and its looks in one request."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from threecad.formats.remote.asking import PASSING, Result, Truncated, asked
from threecad.formats.remote.listing import Looks

if TYPE_CHECKING:
    from threecad.formats.remote.places import Remote


def listed(place: Remote, few: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    fs = place.to.fs
    bucket, key, _ = fs.split_path(place.path)
    more: dict[str, Any] = {"MaxKeys": 3} if few else {}
    while True:
        prefix = f"{key}/" if key else ""
        page = asked(place, partial(fs.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more))
        for each in page.get("Contents", ()):
            info = {"size": each["Size"], "ETag": each.get("ETag"), "LastModified": each.get("LastModified")}
            yield f"{bucket}/{each['Key']}", info
        if few or not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def seen(fs: Any, path: str) -> Mapping[str, Any]:
    """What a listing says of one object. Asked for its header, S3 would not say why it refuses."""
    bucket, key, _ = fs.split_path(path)
    page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1)
    for each in page.get("Contents", ()):
        if each["Key"] == key:
            return {"size": each["Size"], "ETag": each.get("ETag"), "LastModified": each.get("LastModified")}
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def fetched(fs: Any, path: str, limit: int) -> tuple[bytes | None, str, Looks]:
    """One request: the bytes, or, where they are more than `limit`, their sha256; and how the object looked."""
    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes | None, str, Looks]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        size = answer["ContentLength"]
        looks = Looks.of({"size": size, "ETag": answer.get("ETag"), "LastModified": answer.get("LastModified")})
        data, digest, came = None, hashlib.sha256(), 0
        async with answer["Body"] as body:
            if size <= limit:
                data = await body.read()
                came = len(data)
            else:
                while piece := await body.read(1 << 20):
                    digest.update(piece)
                    came += len(piece)
        if came != size:
            raise Truncated
        return data, digest.hexdigest(), looks

    return _synchronously(fs, get)


def copy(fs: Any, here: str, there: str) -> None:
    bucket, key, _ = fs.split_path(here)
    other, name, _ = fs.split_path(there)
    fs.call_s3("copy_object", Bucket=other, Key=name, CopySource={"Bucket": bucket, "Key": key})


def remove(fs: Any, left: list[str]) -> None:
    """Delete objects of one bucket; what the store could not delete stays in `left`."""
    bucket = fs.split_path(left[0])[0]
    keys = {fs.split_path(path)[1]: path for path in left}
    answer = fs.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    failed = answer.get("Errors", ())
    left[:] = [keys[each["Key"]] for each in failed if each.get("Key") in keys]
    for each in failed:
        if each.get("Code") in PASSING:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _synchronously(fs: Any, work: Callable[[], Awaitable[Result]]) -> Result:
    from fsspec.asyn import sync

    return cast("Result", sync(fs.loop, work))
