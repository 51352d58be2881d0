"""What others need to find, cite and load a data set: a data card, a Croissant catalogue, and metadata for Hugging Face.

    dataset_card.md    for people; its header is what a dataset page on Hugging Face reads when it is called README.md
    croissant.json     JSON-LD in Croissant 1.0: files, digests, fields; `mlcroissant validate --jsonld croissant.json`
    metadata.jsonl     an image a line, with its mask: load_dataset("imagefolder", data_dir=…, data_files="metadata.jsonl")

They tell what the data set's layout and its pipeline file say; no picture is opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from threecad import __version__
from threecad.curation.statistics import ALL, called
from threecad.domain import MEANING, Action, Code, Entry, Finding, State
from threecad.errors import ConfigError, ThreecadError
from threecad.formats.dataset import MANIFEST, line, read_manifest
from threecad.formats.layouts import Listing, Request, read
from threecad.pipeline.files import write_atomically
from threecad.pipeline.tables.github import mark_down
from threecad.settings import Describing

CARD, CROISSANT, METADATA = "dataset_card.md", "croissant.json", "metadata.jsonl"
_MANY = 200  # folders that a catalogue lists one by one
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".csv": "text/csv",
    ".toml": "application/toml",
}
_COLUMNS = ("id", "file_name", "mask_file_name", "category", "split", "state", "labels", "source")


@dataclass(frozen=True, slots=True)
class Card:
    """The three files that were written, and the number of images they tell of."""

    card: Path
    croissant: Path
    metadata: Path
    images: int


def card(
    root: str | Path, out: str | Path | None = None, request: Request | None = None, describing: Describing | None = None
) -> Card:
    """Write the data card, the catalogue and the metadata of the data set at `root` into `out`.

    `out` is the data set itself where threecad wrote it, and has to be named for anybody else's. Paths in the catalogue and the
    metadata are relative to the data set: who publishes it puts them there. `describing` is what the pipeline file says under
    `[card]`; a data set that threecad wrote knows it. Raises LayoutError where `root` is no data set, ConfigError where `out` is
    needed, and ThreecadError where it cannot be written.
    """
    root = Path(root)
    listing = read(root, request)
    own = listing.layout == "threecad"
    if out is None and not own:
        raise ConfigError(f"{root} is not threecad's: name a folder for the card with --out")
    target = root if out is None else Path(out)
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; expected a folder for the card")
    manifest = read_manifest(root) if own else None
    if describing is None:
        describing = manifest.describing() if manifest else Describing()
    name = describing.name or (manifest.raw if manifest else root.resolve().name)
    images = [entry for entry in listing.entries if entry.image is not None and (entry.split is not None or not own)]
    metadata = b"".join(line(_row(entry)) for entry in images)
    digests = {METADATA: hashlib.sha256(metadata).hexdigest()}
    if manifest is not None:
        digests |= {path: digest for path, digest in manifest.digests.items() if path.endswith(".jsonl")}
        digests[MANIFEST] = hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
    texts = {
        METADATA: metadata,
        CARD: _card(name, describing, listing, images, digests).encode(),
        CROISSANT: _croissant(name, describing, images, digests).encode(),  # last: its digest says that all are of this manifest
    }
    try:
        for path, data in texts.items():
            write_atomically(target / path, data)
    except OSError as error:
        raise ThreecadError(f"{error.filename or target}: cannot be written ({error.strerror})") from error
    return Card(target / CARD, target / CROISSANT, target / METADATA, len(images))


def _row(entry: Entry) -> dict[str, Any]:
    """A line of metadata.jsonl. Each line has every column: loaders take the columns of all files for one table."""
    mask = next((mask.path for mask in entry.masks if mask.kind == "binary"), None)
    return {
        "id": entry.id,
        "file_name": entry.image,
        "mask_file_name": mask,
        "category": entry.category,
        "split": "" if entry.split is None else entry.split.value,
        "state": "" if entry.state is None else entry.state.value,
        "labels": list(entry.labels),
        "source": entry.source,
    }


def _croissant(name: str, describing: Describing, images: Sequence[Entry], digests: Mapping[str, str]) -> str:
    masks = [mask.path for entry in images for mask in entry.masks if mask.kind == "binary"]
    sets = [("image-files", "The images.", [entry.image for entry in images if entry.image])]
    sets += [("mask-files", "Masks of the defective images: 0 is background, any other value a defect.", masks)] if masks else []
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "encodingFormat": _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream"),
            "sha256": digest,
        }
        for path, digest in sorted(digests.items())
    ]
    for id_, text, paths in sets:
        suffixes = Counter(PurePosixPath(path).suffix.lower() for path in paths)
        distribution.append(
            {
                "@type": "cr:FileSet",
                "@id": id_,
                "name": id_,
                "description": text,
                "encodingFormat": _TYPES.get(suffixes.most_common(1)[0][0] if suffixes else ".png", "application/octet-stream"),
                "includes": _patterns(paths),
            }
        )
    fields = [_column(name) for name in _COLUMNS]
    records: list[dict[str, Any]] = [
        {
            "@type": "cr:RecordSet",
            "@id": "samples",
            "name": "samples",
            "description": "One image a record, with the path of its mask where it has one.",
            "key": {"@id": "samples/id"},
            "field": fields,
        }
    ]
    for set_, what in (("images", "image"), ("masks", "mask"))[: len(sets)]:
        records.append(
            {
                "@type": "cr:RecordSet",
                "@id": set_,
                "name": set_,
                "description": f"The pixels of each {what}, by its path.",
                "field": [
                    _property(set_, "path", "sc:Text", f"{what}-files", "fullpath"),
                    _property(set_, what, "sc:ImageObject", f"{what}-files", "content"),
                ],
            }
        )
    told = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": describing.description or f"{len(images)} images for industrial anomaly detection.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "version": describing.version,
        "distribution": distribution,
        "recordSet": records,
    }
    if describing.license:
        told["license"] = _license(describing.license)
    if describing.url:
        told["url"] = describing.url
    if describing.citation:
        told["citeAs"] = describing.citation
    if describing.published:
        told["datePublished"] = describing.published
    if describing.creators:
        told["creator"] = [{"@type": "sc:Person", "name": creator} for creator in describing.creators]
    return json.dumps(told, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _column(name: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": METADATA}, "extract": {"column": name}}
    many = {"repeated": True} if name == "labels" else {}
    return {"@type": "cr:Field", "@id": f"samples/{name}", "name": name, "dataType": "sc:Text", "source": source} | many


def _property(set_: str, name: str, kind: str, files: str, what: str) -> dict[str, Any]:
    source = {"fileSet": {"@id": files}, "extract": {"fileProperty": what}}
    return {"@type": "cr:Field", "@id": f"{set_}/{name}", "name": name, "dataType": kind, "source": source}


def _patterns(paths: Iterable[str]) -> list[str]:
    """Globs of exactly these folders, or of everything with these suffixes where there are too many or oddly named ones."""
    kinds = {(str(PurePosixPath(path).parent), PurePosixPath(path).suffix) for path in paths}
    if len(kinds) > _MANY or any(set("*?[]{}") & set(folder) for folder, _ in kinds):
        return sorted({f"**/*{suffix}" for _, suffix in kinds})
    return sorted(f"*{suffix}" if folder == "." else f"{folder}/*{suffix}" for folder, suffix in kinds)


def _license(text: str) -> str:
    return f"https://spdx.org/licenses/{text}.html" if re.fullmatch(r"[A-Za-z0-9.+-]+", text) else text


def _card(name: str, describing: Describing, listing: Listing, images: Sequence[Entry], digests: Mapping[str, str]) -> str:
    header: dict[str, Any] = {
        "pretty_name": name,
        "task_categories": ["image-segmentation"],
        "tags": ["anomaly-detection", "industrial-inspection"],
        "configs": [{"config_name": "default", "data_files": [{"split": "samples", "path": METADATA}]}],
    }
    if describing.license and re.fullmatch(r"[A-Za-z0-9.+-]+", describing.license):
        header["license"] = describing.license.lower()
    elif describing.license:
        header |= {"license": "other", "license_link": describing.license}
    parts = [
        # JSON is YAML, and needs no rules of quoting.
        "\n".join(["---", *(f"{key}: {json.dumps(header[key], ensure_ascii=False)}" for key in sorted(header)), "---"]),
        f"# {_cell(name)}",
        _text(describing.description) or "Nobody has described this data set yet: `[card]` in the pipeline file is the place.",
        "\n".join(_facts(describing, listing)),
        "## Images\n\n"
        + _table(("category", "train", "validation", "test, good", "test, defect", "other", "types"), _counts(images)),
        *_skipped(listing.findings),
        "## Defect types\n\n" + _table(("category", "type", "images"), _types(images)),
        "## Loading\n\n" + _LOADING,
        "## Digests\n\n" + _table(("file", "sha256"), [(path, digest) for path, digest in sorted(digests.items())]),
    ]
    if describing.citation:
        parts.append("## Citation\n\n```\n" + describing.citation.replace("```", "'''") + "\n```")
    return "\n\n".join(parts) + "\n"


def _facts(describing: Describing, listing: Listing) -> list[str]:
    facts = {
        "Version": describing.version,
        "Licence": describing.license or "unknown; ask whoever made it before you use it",
        "Made by": ", ".join(describing.creators),
        "Published": " · ".join(filter(None, (describing.published, describing.url))),
        "Defects": describing.defect_source or "not told whether real or forged",
        "Layout": f"{listing.layout}, described with threecad {__version__}",
    }
    return [f"- {key}: {_cell(value)}" for key, value in facts.items() if value]


def _counts(images: Sequence[Entry]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    categories = {entry.category for entry in images}
    for category in sorted(categories):
        own = [entry for entry in images if entry.category == category]
        counts = Counter((entry.split.value if entry.split else "", entry.state) for entry in own)
        good, defect = counts["test", State.GOOD], counts["test", State.DEFECT]
        train, validation = (
            sum(count for (split, _), count in counts.items() if split == name) for name in ("train", "validation")
        )
        kinds = {label for entry in own for label in entry.labels}
        other = len(own) - train - validation - good - defect
        rows.append((called(category, categories), train, validation, good, defect, other, len(kinds)))
    if len(rows) > 1:
        rows.append((ALL, *(sum(int(str(row[column])) for row in rows) for column in range(1, 7))))
    return rows


def _skipped(findings: Sequence[Finding]) -> list[str]:
    """What of the folder is told in no table, in one sentence; none where nothing was left out."""
    codes = Counter(finding.code for finding in findings if finding.action is Action.DROPPED or finding.code is Code.FOREIGN_FILE)
    codes.pop(Code.MASK_ORPHAN, None)  # a mask too many takes no image away
    if not codes:
        return []
    number = sum(codes.values())
    why = "; ".join(f"{code.value} {MEANING[code]}: {count:,}" for code, count in sorted(codes.items()))
    return [f"Skipped and not counted: {number:,} {'file or folder' if number == 1 else 'files or folders'} ({_cell(why)})."]


def _types(images: Sequence[Entry]) -> list[tuple[object, ...]]:
    categories = {entry.category for entry in images}
    counts = Counter((called(entry.category, categories), label) for entry in images for label in entry.labels)
    return [(category, label, count) for (category, label), count in sorted(counts.items())]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in row) + " |" for row in lines)


def _cell(text: str) -> str:
    """Text that is one cell of a Markdown table, or one line, and nothing but text."""
    return mark_down(" ".join(text.split()))


def _text(text: str) -> str:
    return re.sub(r"([<>])", r"\\\1", text.strip())


_LOADING = """\
```python
import threecad

data = threecad.Dataset("PATH", split="test")  # image, gt_mask, gt_label, types, paths
```

```python
from datasets import load_dataset

rows = load_dataset("imagefolder", data_dir="PATH", data_files="metadata.jsonl", split="train")
test = rows.filter(lambda row: row["split"] == "test")  # image, mask (None for good images), labels
```

```python
import mlcroissant

rows = mlcroissant.Dataset("PATH/croissant.json").records("samples")
```"""
