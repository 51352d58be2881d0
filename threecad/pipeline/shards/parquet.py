"""Parquet as Hugging Face's `datasets` reads it: a file a shard, images as bytes and path, a card that names the splits.

`load_dataset(folder)` needs no more: the card's header tells which files are which split, and each file's schema tells which
columns are images. Files are copied, never encoded again; columns of images are not compressed, for PNG is.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from threecad.domain import Sample, Split
from threecad.errors import ConfigError
from threecad.formats.dataset import Manifest
from threecad.pipeline.shards.planning import ROLES
from threecad.pipeline.shards.reading import Parts
from threecad.pipeline.shards.tar import Sink

PATTERN = r"data/(train|validation|test)-\d{5,}-of-\d{5,}\.parquet"
CARD = "README.md"
_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 100
"""A row group is what a reader holds in memory to reach one row; 100 is what `datasets` itself takes for images."""
_TEXT = {"dtype": "string", "_type": "Value"}
_WHOLE = {"dtype": "int64", "_type": "Value"}
_TRUTH = {"dtype": "bool", "_type": "Value"}
_REAL = {"dtype": "float64", "_type": "Value"}
_DEFECT = {"uid": _TEXT, "label": _TEXT, "area": _WHOLE, "bbox": [_WHOLE], "share": _REAL}
_FEATURES: dict[str, Any] = {
    **{role: {"_type": "Image"} for role in ROLES},
    "id": _TEXT,
    "source": _TEXT,
    "category": _TEXT,
    "split": _TEXT,
    "state": _TEXT,
    "labels": [_TEXT],
    "areas": [_WHOLE],
    "window": {"left": _WHOLE, "top": _WHOLE, "height": _WHOLE, "width": _WHOLE},
    # Lists are told as lists and not by their newer name, so that versions before 4 read them too.
    "defects": [_DEFECT],
    "clean": _TRUTH,
    "digest": _TEXT,
}
_REPEATED = ["category", "split", "state", "source", "labels.list.element"]


@cache
def pyarrow(module: str = "pyarrow") -> Any:
    """pyarrow, or one of its modules. ConfigError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"--to parquet needs pyarrow ({error}): pip install 'threecad[parquet]'") from None


def version() -> str:
    """Of pyarrow: another one may write other bytes."""
    return str(pyarrow().__version__)


def path_of(split: Split, number: int, count: int) -> str:
    """The name of a shard, as the Hugging Face Hub names them.

    >>> path_of(Split.TRAIN, 0, 5)
    'data/train-00000-of-00005.parquet'
    """
    return f"data/{split.value}-{number:05d}-of-{count:05d}.parquet"


def weigh(id_: str, sizes: Mapping[str, int], line: int) -> int:
    """About the bytes that a sample takes up in a shard: its files, which are not compressed, and its row, which is."""
    return sum(sizes.values()) + line


def write(sink: Sink, samples: Iterable[Parts]) -> None:
    """Write one shard; a row group at a time is held in memory."""
    arrow = pyarrow()
    schema = _schema()
    guarded = _Guarded(sink)
    writer = pyarrow("pyarrow.parquet").ParquetWriter(
        arrow.PythonFile(guarded, mode="w"),
        schema,
        compression={name: "NONE" if _is_bytes(name) else "ZSTD" for name in _leaves()},
        use_dictionary=_REPEATED,
        write_statistics=[name for name in _leaves() if "." not in name],
    )
    try:
        for group in _groups(samples):
            table = arrow.Table.from_pylist([_row(parts) for parts in group], schema=schema)
            group.clear()  # Arrow has copied it, and copies it twice more to write it
            writer.write_table(table, row_group_size=len(table))
            del table
        writer.close()
    except BaseException:
        guarded.sink = None
        with suppress(OSError):  # what it still wants to write goes nowhere, and it is closed before it is collected
            writer.close()
        raise


class _Guarded:
    """The file that pyarrow writes into. Without a sink it takes everything and keeps nothing."""

    closed = False

    def __init__(self, sink: Sink) -> None:
        self.sink: Sink | None = sink
        self._length = 0

    def write(self, data: bytes) -> int:
        if self.sink is not None:
            self.sink.write(data)
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Whoever gave the sink flushes it."""

    def close(self) -> None:
        """Whoever gave the sink closes it."""


def _groups(samples: Iterable[Parts]) -> Iterator[list[Parts]]:
    group: list[Parts] = []
    held = 0
    for parts in samples:
        size = sum(map(len, parts.files.values()))
        if group and (held + size > _GROUP_BYTES or len(group) == _GROUP_ROWS):
            yield group
            group, held = [], 0
        group.append(parts)
        held += size
    if group:
        yield group


@cache
def _samples() -> TypeAdapter[Sample]:
    return TypeAdapter(Sample)


def _row(parts: Parts) -> dict[str, Any]:
    sample = _samples().validate_json(parts.line)
    window = sample.window
    return {
        **{role: {"bytes": parts.files[role], "path": parts.paths[role]} if role in parts.files else None for role in ROLES},
        "id": sample.id,
        "source": sample.source,
        "category": sample.category,
        "split": None if sample.split is None else sample.split.value,
        "state": sample.state.value,
        "labels": list(sample.labels),
        "areas": list(sample.areas),
        "window": {"left": window.left, "top": window.top, "height": window.size.height, "width": window.size.width},
        "defects": [
            {"uid": each.uid, "label": each.label, "area": each.area, "bbox": list(each.bbox), "share": each.share}
            for each in sample.defects
        ],
        "clean": sample.clean,
        "digest": sample.digest,
    }


@cache
def _schema() -> Any:
    arrow = pyarrow()
    fields = [arrow.field(name, _type(feature)) for name, feature in _FEATURES.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": _FEATURES}}, sort_keys=False)}
    return arrow.schema(fields, metadata=metadata)


def _type(feature: Any) -> Any:
    """The Arrow type of a feature of `datasets`."""
    arrow = pyarrow()
    if isinstance(feature, list):
        return arrow.list_(_type(feature[0]))
    if feature.get("_type") == "Image":
        return arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
    if feature.get("_type") == "Value":
        return {"string": arrow.string, "int64": arrow.int64, "bool": arrow.bool_, "float64": arrow.float64}[feature["dtype"]]()
    return arrow.struct({name: _type(each) for name, each in feature.items()})


@cache
def _leaves() -> tuple[str, ...]:
    """The columns as Parquet names them, `window.left` and `defects.list.element.uid` among them."""
    return tuple(name for top, feature in _FEATURES.items() for name in _below(top, feature))


def _below(name: str, feature: Any) -> Iterator[str]:
    if isinstance(feature, list):
        yield from _below(f"{name}.list.element", feature[0])
    elif feature.get("_type") == "Image":
        yield from (f"{name}.bytes", f"{name}.path")
    elif "_type" in feature:
        yield name
    else:
        for key, each in feature.items():
            yield from _below(f"{name}.{key}", each)


def _is_bytes(name: str) -> bool:
    return name.endswith(".bytes")


# ---------------------------------------------------------------- the card


def card(manifest: Manifest, splits: Sequence[str], samples: int, categories: Sequence[str]) -> bytes:
    """README.md: a header that `datasets` reads, and what the columns are."""
    describing = manifest.describing()
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    header: dict[str, Any] = {
        "configs": [{"config_name": "default", "data_files": files}],
        "pretty_name": describing.name or manifest.raw,
        "tags": ["anomaly-detection", "industrial-inspection"],
        "task_categories": ["image-segmentation"],
    }
    if describing.license and re.fullmatch(r"[A-Za-z0-9.+-]+", describing.license):
        header["license"] = describing.license.lower()
    types = {name: {each.index: each.name for each in manifest.categories[name].types} for name in categories}
    parts = [
        # JSON is YAML, and needs no rules of quoting.
        "\n".join(["---", *(f"{key}: {json.dumps(header[key], ensure_ascii=False)}" for key in sorted(header)), "---"]),
        f"# {samples:,} tiles for industrial anomaly detection",
        _COLUMNS,
        "Values of `types` in each category:",
        f"```json\n{json.dumps(types, indent=2, ensure_ascii=False, sort_keys=True)}\n```",
    ]
    return ("\n\n".join(parts) + "\n").encode()


_COLUMNS = """\
```python
from datasets import load_dataset

rows = load_dataset("PATH", split="train")
```

- `image`: the tile
- `mask`: 0 background, 255 defect; null where `state` is `good`
- `types`: 0 background, else the index of the defect's type; null where `state` is `good`
- `ignore`: 255 where nothing counts as good or defective; null where there is no such area
- `id`, `source`, `window`: the tile, the photograph it was cut from, and where
- `category`, `split`, `state`, `labels`, `areas`: kind of part, and which types are visible on how many pixels each
- `defects`: of each defect its id, type, visible pixels, box (left, top, width, height), and the share of it that is visible
- `clean`: a good tile of a photograph on which something is drawn elsewhere
- `digest`: SHA-256 of the image file"""
