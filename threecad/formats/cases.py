"""What a person looks at and what they say: cases.jsonl, the shapes to look at, and the decisions about them.

A decision names a shape by its source and by a digest of the shape as drawn. So it finds its shape when others are drawn or
deleted before it, and finds nothing once the shape has been drawn anew: then nobody has decided about that.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from threecad.domain import Case, Decision, Shape
from threecad.errors import ConfigError, ReadError
from threecad.formats.regular import lines_of

CASES = "cases.jsonl"
DECISIONS = "decisions.json"
MOST_BYTES = 256 << 20
"""Of a file of decisions: about two million of them."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Choice(_Part):
    """What was decided about one shape."""

    source: str
    """The source's id: the photograph's path in the raw folder."""
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Names the shape as it was drawn."""
    decision: Literal["accept", "relabel", "drop", "none"]
    """`accept` what was made of it, `relabel` it, `drop` it; `none` takes an earlier decision back."""
    shape: int | None = None
    """The shape's number in its file, for people; it is not looked at."""


class Choices(_Part):
    """A file of decisions, as the report exports it and `threecad convert --decisions` reads it."""

    format: Literal[1] = 1
    decisions: tuple[Choice, ...]


def digest_of(shape: Shape) -> str:
    """16 hexadecimal digits that name what was drawn: label, kind, points and bitmap, but not the shape's place in its file.

    >>> dent = Shape(0, "dent", "polygon", ((1, 1), (9, 1), (9, 9)))
    >>> digest_of(dent)
    'ff72a2ebf88696b0'
    """
    mask = None if shape.mask is None else hashlib.sha256(shape.mask).hexdigest()
    drawn = [shape.label, shape.kind, [[float(x), float(y)] for x, y in shape.points], shape.group, mask]
    return hashlib.sha256(json.dumps(drawn, ensure_ascii=True).encode()).hexdigest()[:16]


class Decisions(Mapping[str, Mapping[str, Decision]]):
    """Source → (digest of a shape → what was decided about it).

    >>> decisions = Decisions({"a.png": {"ff72a2ebf88696b0": Decision.DROP}})
    >>> decisions.about("a.png", [Shape(3, "dent", "polygon", ((1, 1), (9, 1), (9, 9)))])
    {3: <Decision.DROP: 'drop'>}
    """

    def __init__(self, decided: Mapping[str, Mapping[str, Decision]] | None = None) -> None:
        self._decided = {source: dict(rows) for source, rows in (decided or {}).items() if rows}
        self._composed = {unicodedata.normalize("NFC", source): source for source in sorted(self._decided)}

    def __getitem__(self, source: str) -> Mapping[str, Decision]:
        return self._decided[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decided)

    def __len__(self) -> int:
        return len(self._decided)

    @property
    def count(self) -> int:
        """How many shapes were decided about."""
        return sum(map(len, self._decided.values()))

    def of(self, source: str) -> Mapping[str, Decision]:
        """Digest → decision for one source, whose name another system may have spelt with letters and marks apart (NFD)."""
        rows = self._decided.get(source)
        if rows is None:
            rows = self._decided.get(self._composed.get(unicodedata.normalize("NFC", source), ""), {})
        return rows

    def only(self, source: str) -> Decisions:
        """Those about one source."""
        rows = self.of(source)
        return Decisions({source: rows} if rows else {})

    def about(self, source: str, shapes: Iterable[Shape]) -> dict[int, Decision]:
        """Number of a shape → decision, for those of one source that somebody decided about."""
        rows = self.of(source)
        if not rows:
            return {}
        return {shape.index: rows[digest] for shape in shapes if (digest := digest_of(shape)) in rows}

    def stale(self, source: str, shapes: Iterable[Shape]) -> list[tuple[str, Decision]]:
        """Digests and decisions of shapes that the source does not hold any more, sorted."""
        rows = self.of(source)
        drawn = {digest_of(shape) for shape in shapes} if rows else set()
        return sorted((digest, decision) for digest, decision in rows.items() if digest not in drawn)

    def strangers(self, sources: Iterable[str]) -> list[str]:
        """Those that were decided about and are none of `sources`, sorted."""
        known = {unicodedata.normalize("NFC", source) for source in sources}
        return sorted(source for source in self._decided if unicodedata.normalize("NFC", source) not in known)

    def changed(self, choices: Choices) -> Decisions:
        """These decisions after `choices`: a later word on the same shape replaces the earlier one, `none` takes it back."""
        decided = {source: dict(rows) for source, rows in self._decided.items()}
        for choice in choices.decisions:
            rows = decided.setdefault(choice.source, {})
            rows.pop(choice.digest, None)
            if choice.decision != "none":
                rows[choice.digest] = Decision(choice.decision)
        return Decisions(decided)

    def joined(self, later: Decisions) -> Decisions:
        """These decisions and `later` ones, which replace those about the same shapes."""
        return Decisions({source: {**self.get(source, {}), **later.get(source, {})} for source in {*self, *later}})

    def text(self) -> str:
        """The decisions as the file that `read_choices` reads: sorted, one a line."""
        rows = [
            json.dumps(
                {"decision": rows[digest].value, "digest": digest, "source": source}, separators=(",", ":"), ensure_ascii=False
            )
            for source, rows in sorted(self._decided.items())
            for digest in sorted(rows)
        ]
        return '{"format": 1, "decisions": [\n' + ",\n".join(rows) + "\n]}\n"


def read_choices(path: Path, expected: str = "expected decisions as the report exports them") -> Choices:
    """A file of decisions. ConfigError where it is missing or is no such file, with what was `expected`."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {expected}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: more than {MOST_BYTES >> 20} MB; {expected}")
    try:
        return Choices.model_validate_json(data.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        flaw = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in flaw["loc"])
        where = f"{place}: " if place else ""
        raise ConfigError(f"{path}: {where}{flaw['msg']}; {expected}") from None


@cache
def _cases() -> TypeAdapter[Case]:
    return TypeAdapter(Case)


def schemas() -> dict[str, dict[str, Any]]:
    """File name → JSON Schema of one line of cases.jsonl, and of a file of decisions."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    case = _cases().json_schema(mode="serialization")
    return {"case.schema.json": dialect | case, "decisions.schema.json": dialect | Choices.model_json_schema()}


def row_of(case: Case) -> dict[str, Any]:
    """A case as plain values for `dataset.line`."""
    row: dict[str, Any] = _cases().dump_python(case, mode="json")
    return row


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of a cases.jsonl, one after the other. ReadError names file and line."""
    try:
        for number, text in lines_of(path):
            try:
                yield _cases().validate_json(text)
            except ValidationError as error:
                flaw = error.errors(include_url=False)[0]
                raise ReadError(f"{path}, line {number}: {'.'.join(map(str, flaw['loc']))}: {flaw['msg']}") from None
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror}") from None
