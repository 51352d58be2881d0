"""The schemas that ship are those of the models, and printing one needs none of the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from threecad import schemas

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return schemas.generated()


def test_what_ships_is_what_the_models_generate(generated: dict[str, str]) -> None:
    assert schemas.shipped() == generated


def test_every_schema_is_one_of_its_dialect(generated: dict[str, str]) -> None:
    for text in generated.values():
        schema = json.loads(text)
        assert schema["$schema"] == schemas.DIALECT
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").rglob("*.toml")), ids=lambda path: path.stem)
def test_what_ships_in_pipelines_follows_the_schema_of_its_kind_alone(path: Path, generated: dict[str, str]) -> None:
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    kinds = {kind for kind in ("pipeline", "recipe") if Draft202012Validator(json.loads(generated[kind])).is_valid(tree)}
    assert kinds == {"recipe" if path.stem.startswith("cfrg") or path.parent.name == "ablations" else "pipeline"}


def test_the_schema_of_a_run_takes_what_a_run_writes_and_nothing_else(generated: dict[str, str]) -> None:
    from threecad.learning.runs import Contents, Cut, Threshold, Trained

    trained = Trained(name="glass", categories=("glass",), folder="glass", images=3, seconds=1.5)
    cut = Cut(slice_size=1024, overlap_ratio=0.2, edge="shift")
    contents = Contents(threecad="0.1.0", dataset="line7", cut=cut, teacher="0" * 64, models=(trained,))
    threshold = Threshold(image=0.5, photograph=0.6, false_positive_rate=0.01, images=3, photographs=2, source="validation")
    for name, value in (("run", contents), ("threshold", threshold)):
        validator = Draft202012Validator(json.loads(generated[name]))
        written = value.model_dump(mode="json")
        validator.validate(written)
        with pytest.raises(ValidationError):
            validator.validate(written | {"note": ""})


def test_check_names_a_schema_that_is_not_as_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(schemas, "FOLDER", tmp_path / "schemas")
    assert schemas.main([]) == 0
    assert schemas.main(["--check"]) == 0
    (tmp_path / "schemas" / "run.schema.json").write_text("{}\n")
    (tmp_path / "schemas" / "case.schema.json").unlink()
    (tmp_path / "schemas" / "old.schema.json").write_text("{}\n")
    assert schemas.main(["--check"]) == 1
    stale = [line.split(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert stale == ["schemas/case.schema.json", "schemas/run.schema.json", "schemas/old.schema.json"]


def test_printing_a_schema_loads_no_heavy_library() -> None:
    heavy = {"torch", "numpy", "cv2"}
    program = f"import sys; from threecad import schemas; schemas.shipped(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
