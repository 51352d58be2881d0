"""The JSON Schemas in schemas/, generated from the models: `python -m threecad.schemas [--check]`.

They lie beside the package, so that to print one needs neither the models nor the torch that those of a run stand beside.
"""

from __future__ import annotations

import importlib.resources
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SUFFIX = ".schema.json"


def shipped() -> dict[str, str]:
    """Name → text of every schema, as they ship with threecad: in the wheel, or at the top of a checkout.

    >>> "pipeline" in shipped()
    True
    """
    packaged = importlib.resources.files("threecad") / "_data" / "schemas"
    folder = packaged if packaged.is_dir() else FOLDER
    files = sorted((file for file in folder.iterdir() if file.name.endswith(_SUFFIX)), key=lambda file: file.name)
    return {file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8") for file in files}


def generated() -> dict[str, str]:
    """The same from the models: the files that people write, labelme's JSON as it is read, what data sets and runs hold, and what
    evaluations, predictions and exports write."""
    from threecad.formats import cases, dataset, labelme
    from threecad.learning.config import Recipe
    from threecad.learning.evaluate import record
    from threecad.learning.export import Card
    from threecad.learning.predict import Verdict
    from threecad.learning.runs import Contents, Threshold
    from threecad.pipeline import tables
    from threecad.pipeline.config import Pipeline

    models: dict[str, dict[str, Any]] = {
        "pipeline": {"$schema": DIALECT} | Pipeline.model_json_schema(),
        "labelme": {"$schema": DIALECT} | labelme.schema(),
        **{name.removesuffix(_SUFFIX): schema for name, schema in {**dataset.schemas(), **cases.schemas()}.items()},
        "statistics": {"$schema": DIALECT} | tables.schema(),
        "recipe": {"$schema": DIALECT} | Recipe.model_json_schema(),
        "run": {"$schema": DIALECT} | Contents.model_json_schema(mode="serialization"),
        "threshold": {"$schema": DIALECT} | Threshold.model_json_schema(mode="serialization"),
        "metrics": {"$schema": DIALECT} | record.Metrics.model_json_schema(mode="serialization"),
        "image": {"$schema": DIALECT} | record.Image.model_json_schema(mode="serialization"),
        "verdict": {"$schema": DIALECT} | Verdict.model_json_schema(mode="serialization"),
        "card": {"$schema": DIALECT} | Card.model_json_schema(mode="serialization"),
    }
    return {name: json.dumps(model, indent=2, sort_keys=True, ensure_ascii=False) + "\n" for name, model in models.items()}


def main(arguments: list[str]) -> int:
    """Write the schemas, or with `--check` compare: 1 and the names of those that are not as generated."""
    if not FOLDER.with_name("pyproject.toml").exists():
        print("schemas/ is kept in a checkout; an installed threecad prints them: threecad schema NAME", file=sys.stderr)
        return 2
    made = {name + _SUFFIX: text for name, text in generated().items()}
    kept = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    if "--check" in arguments:
        stale = [name for name, text in made.items() if kept.get(name) != text] + sorted(kept.keys() - made.keys())
        for name in stale:
            print(f"schemas/{name} is not what the models generate; run: make schemas", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
