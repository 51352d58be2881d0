"""The numbers themselves, for programs: as JSON with its schema, and as CSV."""

from __future__ import annotations

import csv
import io
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from threecad.curation import sizes
from threecad.curation.statistics import Statistics
from threecad.domain import Finding
from threecad.formats import queue
from threecad.formats.dataset import row_of
from threecad.pipeline.summary import plain
from threecad.pipeline.tables.grid import SPREADS, in_order

CSV_COLUMNS = ("dataset", "table", "category", "item", "name", "value")
_ITEMS: dict[str, tuple[str, ...]] = {
    "overview": (),
    "comparison": (),
    "types": ("type",),
    "together": ("first", "second"),
    "survival": ("shrinking",),
    "looks": ("split",),
    "sources": (),
    "balance": ("step",),
}
"""Tables whose rows are of a category, and the fields that, joined by ` + `, say of what in it."""


def as_json(statistics: Statistics, compared: Sequence[Statistics] = ()) -> dict[str, Any]:
    """All of it as plain values: the fields of `Statistics`, the bounds of the size classes, and `compared`, each like this one.

    ValueError where a number is not finite, which JSON cannot say; no measure of an image is.
    """
    made = {field.name: _plain_value(getattr(statistics, field.name)) for field in fields(statistics)}
    made["size_classes"] = [
        {"name": name, "below": None if math.isinf(bound) else int(bound)} for name, bound in sizes.BOUNDS.items()
    ]
    made["compared"] = [as_json(other) for other in compared]
    return made


def _plain_value(value: object) -> Any:
    if isinstance(value, Finding):
        return row_of(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain_value(value[key]) for key in in_order(value)}
    if isinstance(value, tuple | list):
        return [_plain_value(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a statistic is {value}; expected a finite number")
    return value


def schema() -> dict[str, Any]:
    """The JSON Schema of `as_json`, made from the dataclasses so that the two cannot part."""
    definitions: dict[str, Any] = {}
    _describe(Statistics, definitions)
    top = definitions["Statistics"]
    below = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    entry = _object({"name": {"type": "string"}, "below": below}, "A size class and the area in pixels that it stays below.")
    top["properties"]["size_classes"] = {"type": "array", "items": entry}
    top["properties"]["compared"] = {"type": "array", "items": {"$ref": "#/$defs/Statistics"}}
    top["required"] = sorted(top["properties"])
    return {"title": "Statistics", "$ref": "#/$defs/Statistics", "$defs": definitions}


def _describe(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; dataclasses and enumerations are put into `definitions`."""
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
    if kind in simple:
        return {"type": simple[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(each, definitions) for each in arguments]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin is tuple:
        items = [_describe(each, definitions) for each in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # before its fields, one of which may be of the same kind
        definitions[kind.__name__] = (
            {"type": "string", "enum": [each.value for each in kind]} if issubclass(kind, StrEnum) else _record(kind, definitions)
        )
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    text = " ".join(line.strip() for line in (kind.__doc__ or "").split("\n\n")[0].splitlines())
    return _object({name: _describe(hint, definitions) for name, hint in hints.items()}, text)


def _object(properties: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": text,
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def csv_text(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    """All numbers of all tables as one long table, a number a line: dataset, table, category, item, name, value.

    A table of the paper is a pivot of it; in pandas, Table 1 is `t[t.table == "overview"].pivot(index="category",
    columns="name", values="value")`. Heat maps are left to JSON. A cell that a spreadsheet would take for a formula begins with
    an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for each in (statistics, *compared):
        for row in _long(as_json(each)):
            rows.writerow(_cell(cell) for cell in (each.name, *row))
    return text.getvalue()


def _long(data: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """(table, category, item, name, value) of each number."""
    for name in ("layout", "images", "clean"):
        yield "dataset", "", "", name, data[name]
    for table, items in _ITEMS.items():
        found = data[table] if isinstance(data[table], list) else [data[table]]
        for row in found:
            item = " + ".join(row[key] for key in items)
            for name, value in _leaves({key: value for key, value in row.items() if key not in ("category", *items)}):
                yield table, row.get("category", ""), item, name, value
    for table, _ in SPREADS:
        for category, spread in data[table].items():
            for name, value in _leaves(spread["quantiles"] or {"count": 0}):
                yield table, category, "", name, value
            edges = spread["histogram"]["edges"]
            for low, high, count in zip(edges[:-1], edges[1:], spread["histogram"]["counts"], strict=True):
                yield table, category, f"{low:g} to {high:g}", "count", count
    for number, copies in enumerate(data["copies"], 1):
        kind = f"{'exact' if copies['exact'] else 'near'} {number} {'across' if copies['across'] else 'inside'}"
        for path, split in copies["members"]:
            yield "copies", "", kind, path, split
    for overlap in data["overlaps"]:
        yield "overlaps", "", f"{overlap['first']} + {overlap['second']}", overlap["source"], overlap["pixels"]
    for finding in data["findings"]:
        yield "findings", "", finding["code"], finding["source"], finding["detail"]


def _leaves(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Each number with its name: `height.least`, `sizes.tiny`, `types.scratch`."""
    for key, value in row.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif key == "sizes":
            yield from ((f"{name}.{size}", count) for size, count in zip(sizes.NAMES, value, strict=True))
        elif isinstance(value, list):
            yield from ((f"{name}.{kind}", count) for kind, count in value)
        else:
            yield name, value


def _cell(value: object) -> object:
    """A number as it is, a name without what a spreadsheet would run or a terminal obey.

    >>> [_cell(value) for value in (0.25, None, True, "a", "=1+1", " @x", "＝1", "-3", "a\\nb")]
    [0.25, '', 'true', 'a', "'=1+1", "' @x", "'＝1", "'-3", 'a\\\\nb']
    """
    return queue.cell(value if value is None or isinstance(value, int | float) else plain(value))
