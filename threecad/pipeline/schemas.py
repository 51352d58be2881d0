"""The JSON Schemas in schemas/, generated from the models: `python -m threecad.pipeline.schemas [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from threecad.formats import cases, dataset, labelme
from threecad.pipeline import tables
from threecad.pipeline.config import Pipeline

FOLDER = Path(__file__).parents[2] / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, str]:
    """File name → text of every schema: the pipeline file, labelme's JSON as it is read, and what a data set holds."""
    models: dict[str, dict[str, Any]] = {
        "pipeline.schema.json": {"$schema": DIALECT} | Pipeline.model_json_schema(),
        "labelme.schema.json": {"$schema": DIALECT} | labelme.schema(),
        **dataset.schemas(),
        **cases.schemas(),
        "statistics.schema.json": {"$schema": DIALECT} | tables.schema(),
    }
    return {name: json.dumps(model, indent=2, sort_keys=True, ensure_ascii=False) + "\n" for name, model in models.items()}


def main(arguments: list[str]) -> int:
    """Write the schemas, or with `--check` compare: 1 and the names of those that are not as generated."""
    made = schemas()
    if not FOLDER.with_name("pyproject.toml").exists():
        print("schemas/ is kept in a checkout; an installed threecad prints them: threecad schema NAME", file=sys.stderr)
        return 2
    if "--check" in arguments:
        stale = [
            name for name, text in made.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text("utf-8") != text
        ]
        stale += sorted({path.name for path in FOLDER.glob("*.json")} - made.keys())
        for name in stale:
            print(f"schemas/{name} is not what the models generate; run: make schemas", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
