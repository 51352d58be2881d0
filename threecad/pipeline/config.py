"""A pipeline: every setting of a conversion in one frozen value, read from TOML and written back to it."""

from __future__ import annotations

import difflib
import importlib.resources
import json
import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from threecad.errors import ConfigError
from threecad.settings import Describing, Labels, Rasterizing, Reading, Repairing, Section, Splitting, Tiling, Writing

S = TypeVar("S", bound=Section)

MOST_BYTES = 4 << 20
"""Of a file of settings: a label table of a hundred thousand spellings fits."""

_MOST_DOTS = 5_000
"""In one line: a key of more parts takes tomllib minutes and gigabytes, which grow with their square."""
_MOST_FAULTS = 20
"""What one sentence tells of; of the others it tells how many there are."""
_LOOK = reprlib.Repr()
_LOOK.maxstring = _LOOK.maxother = 120


class Pipeline(Section):
    """Every setting of a conversion.

    >>> Pipeline().tiling.slice_size
    1024
    """

    read: Reading = Field(default_factory=Reading)
    """Which files of the raw folder are images, annotations and categories."""
    labels: Labels = Field(default_factory=Labels)
    """The label table."""
    repair: Repairing = Field(default_factory=Repairing)
    """When an outline may be repaired."""
    raster: Rasterizing = Field(default_factory=Rasterizing)
    """Which pixels belong to a region."""
    tiling: Tiling = Field(default_factory=Tiling)
    """How an image is cut, and what a tile is called."""
    split: Splitting = Field(default_factory=Splitting)
    """Who trains and who tests."""
    write: Writing = Field(default_factory=Writing)
    """What the data set on disk looks like."""
    card: Describing = Field(default_factory=Describing)
    """What people should know about the data set."""


def load(name: str | Path) -> Pipeline:
    """Read a pipeline file, or one that ships with threecad by its bare name.

    Raises ConfigError where the file is missing, is not TOML, or holds a key or value that is not a setting.

    >>> load("smoke").tiling.slice_size
    256
    """
    return load_as(Pipeline, name)


def load_as(model: type[S], name: str | Path) -> S:
    """As `load`, of whatever is read from such files; only files of that kind ship under a name."""
    kind = model.__name__.lower()
    if isinstance(name, str) and "://" in name:
        return parse_as(model, _fetched(name, kind), name)
    path = Path(name)
    if path.suffix == "" and not path.is_absolute() and not path.is_file():
        shipped = dict(_shipped(model))
        if path.as_posix() not in shipped:
            raise ConfigError(f"no {kind} named {str(name)!r}; there are {', '.join(sorted(shipped))}, or pass a TOML file")
        return parse_as(model, shipped[path.as_posix()], f"{name}.toml")
    try:
        with path.open("rb") as file:  # a pipe will do; it has no size to look at first
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a {kind} file in TOML") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; expected a {kind} file in TOML") from None
    return parse_as(model, text, str(path))


def _fetched(url: str, kind: str) -> str:
    """The text of a file in a store, as `convert` leaves its pipeline there."""
    from threecad.formats.remote import place_of

    try:
        return place_of(url).read_bytes().decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"{url}: cannot be read ({why}); expected a {kind} file in TOML") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{url}: is not UTF-8 text; expected a {kind} file in TOML") from None


def parse(text: str, name: str = "pipeline") -> Pipeline:
    """Read a pipeline from TOML text; `name` stands in the error messages.

    >>> parse("[tiling]\\noverlap = 0.3")
    Traceback (most recent call last):
    threecad.errors.ConfigError: pipeline: tiling.overlap is not a setting; did you mean overlap_ratio?
    """
    return parse_as(Pipeline, text, name)


def parse_as(model: type[S], text: str, name: str) -> S:
    """As `parse`, of whatever is read from such files."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{name}: more than {MOST_BYTES >> 20} MB; expected a file of settings")
    if max(line.count(".") for line in text.split("\n")) > _MOST_DOTS:
        raise ConfigError(f"{name}: is nested too deeply; expected sections of settings")
    try:
        tree = tomllib.loads(text)
    except ValueError as error:  # tomllib's own, or a number of more digits than Python reads
        raise ConfigError(f"{name}: is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply; expected sections of settings") from None
    return _validate(model, tree, name)


def override(pipeline: S, changes: Mapping[str, object]) -> S:
    """The same pipeline with some settings replaced, named by dotted path; a None value changes nothing.

    >>> override(Pipeline(), {"tiling.slice_size": 512, "tiling.edge": None}).tiling.slice_size
    512
    """
    tree = pipeline.model_dump()
    for dotted, value in changes.items():
        if value is not None:
            *sections, key = dotted.split(".")
            target = tree
            for section in sections:
                target = target[section]
            target[key] = value
    return _validate(type(pipeline), tree, "command line")


def dump(pipeline: Section) -> str:
    """The pipeline as TOML, every setting spelled out; settings that are None are left out.

    >>> parse(dump(Pipeline())) == Pipeline()
    True
    """
    return tomli_w.dumps(pipeline.model_dump(mode="json", exclude_none=True))


def table(labels: Labels, category: str) -> dict[str, str] | None:
    """Spelling → type for one category, its own entries before the common ones; None where nothing is listed.

    >>> table(Labels(aliases={"划痕": "scratch"}, categories={"glass": {"hh": "scratch"}}), "glass")
    {'划痕': 'scratch', 'hh': 'scratch'}
    """
    return {**labels.aliases, **labels.categories.get(category, {})} or None


def template(model: type[Section] = Pipeline) -> str:
    """A commented file that holds every setting at its default, for `threecad init`.

    >>> parse(template()) == Pipeline()
    True
    """
    kind = model.__name__.lower()
    lines = [f"# A {kind} of threecad. Every line shows the default; delete what you do not change.", ""]
    sections = {name: field.annotation for name, field in model.model_fields.items() if _is_section(field.annotation)}
    for name, setting in model.model_fields.items():
        if name not in sections:  # before the first section, or TOML takes them for settings of one
            lines += _explained(name, setting, "")
    for section, settings in sections.items():
        assert settings is not None
        lines += [f"# {model.model_fields[section].description}", f"[{section}]"]
        for key, setting in settings.model_fields.items():
            lines += _explained(key, setting, f"{section}.")
    return "\n".join(lines).rstrip() + "\n"


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _explained(key: str, setting: FieldInfo, where: str) -> list[str]:
    """The lines of one setting: what it is for, and its default."""
    lines = [f"# {line}" for line in (setting.description or "").split("\n")]
    value = setting.get_default(call_default_factory=True)
    if isinstance(value, dict):
        return [*lines, f"# [{where}{key}{'.CATEGORY' if key == 'categories' else ''}]", '# "spelling" = "type"', ""]
    if value is None:
        return [*lines, f"# {key} =", ""]
    return [*lines, f"{key} = {json.dumps(value)}", ""]  # JSON's numbers, strings, booleans and arrays are TOML's too


def _validate(model: type[S], tree: dict[str, Any], name: str) -> S:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        told = [*_sentences(model, error)]
        if (more := error.error_count() - len(told)) > 0:
            told.append(f"and {more:,} more")
        raise ConfigError(f"{name}: {'; '.join(told)}") from None


def _sentences(model: type[Section], error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False)[:_MOST_FAULTS]:
        where = ".".join(_shortened(str(part)) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = _keys(model, fault["loc"][:-1])
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
            yield f"{where} is not a setting" + (
                f"; did you mean {close[0]}?" if close else f"; there are {', '.join(map(_shortened, known))}"
            )
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message = f"{message[0].lower()}{message[1:]}"
            yield f"{where}: {message}, found {_shown(fault['input'])}" if where else message


def _shown(value: object) -> str:
    """A look at a value of any size."""
    try:
        return _LOOK.repr(value)
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"


def _shortened(text: str) -> str:
    return text if len(text) <= _LOOK.maxstring else f"{text[: _LOOK.maxstring]}…"


def _keys(model: Any, path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def _shipped(model: type[Section]) -> Iterator[tuple[str, str]]:
    """Name and text of each file of that kind that ships with threecad: in the wheel, or at the top of a checkout.

    No two kinds have a section in common, so that the sections tell which kind a file is of.
    """
    packaged = importlib.resources.files("threecad") / "_data" / "pipelines"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "pipelines"
    for name, text in _within(folder, ""):
        if tomllib.loads(text).keys() <= model.model_fields.keys():
            yield name, text


def _within(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for file in folder.iterdir():
        if file.is_dir():
            yield from _within(file, f"{prefix}{file.name}/")
        elif file.name.endswith(".toml"):
            yield prefix + file.name.removesuffix(".toml"), file.read_text(encoding="utf-8")
