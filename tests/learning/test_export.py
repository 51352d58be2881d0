"""A run's models as files: they say what the run says, tell how to use them, and need nothing of threecad."""

from __future__ import annotations

import errno
import gc
import importlib.util
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from PIL import Image
from test_predict_cutting import Brightness
from torch import Tensor
from toys import TEACHER, surface

import threecad.cli.exporting  # registers the command  # noqa: F401
from threecad import __version__
from threecad.cli import main
from threecad.domain import Size
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.learning import export as exporting
from threecad.learning import model as networks
from threecad.learning import runs
from threecad.learning.config import Data, Recipe
from threecad.learning.export import Card, Differences, Exported, export
from threecad.learning.fitting import fit_image, fits
from threecad.learning.model import Cfrg, backbone
from threecad.learning.runs import Contents, Cut, Run, Threshold, Trained

ROOT = Path(__file__).parents[2]
SMALL = {"model": {"teacher": TEACHER, "heterogeneous": False, "recovery": False}}
CUT = Cut(slice_size=96, overlap_ratio=0.25, edge="shift")
LIMIT = Threshold(image=1.234567890123, photograph=1.5, false_positive_rate=0.01, images=10, photographs=5, source="validation")


def made(root: Path, *names: str, recipe: dict[str, Any] | None = None, joint: bool = False) -> Run:
    """A run whose networks are random, with a model for each of the names, or one for all."""
    settings = Recipe.model_validate(
        {"data": {"size": 64}, "model": {"teacher": TEACHER, "heterogeneous": False}} | (recipe or {})
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = backbone(settings.model.teacher)
        digest = runs.write_teacher(root, teacher)
        runs.write_recipe(root, settings)
        models = [("joint", names)] if joint else [(name, (name,)) for name in names]
        for name, _ in models:
            runs.write_model(root / name, Cfrg(settings.model, teacher))
            runs.write_json(root / name / runs.THRESHOLD, LIMIT)
    trained = tuple(Trained(name=name, categories=held, folder=name, images=3, seconds=1.5) for name, held in models)
    runs.write_json(root / runs.RUN, Contents(threecad=__version__, dataset="parts", cut=CUT, teacher=digest, models=trained))
    return Run(root)


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """One block a stage of the recovery: what exporting takes goes by the number of operations. The fusion has all its blocks."""
    whole = networks._stage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "_stage", lambda inside, outside, blocks, ends: whole(inside, outside, 1, ends))
        gc.freeze()  # capturing makes objects by the million, and each time those of all the modules would be looked through
        yield
        gc.unfreeze()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("runs") / "parts", "metal")


@pytest.fixture(scope="module")
def onnx_file(run: Run) -> Exported:
    with pytest.MonkeyPatch.context() as patch:
        # What torch otherwise keeps of each operation, and a third of the time; a test of its own shows that we drop it.
        patch.setattr(torch.fx.config, "do_not_emit_stack_traces", True, raising=False)
        return export(run)[0]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Without segmentation, so that the other path to a map is seen too."""
    recipe = {"protocol": "upstream", "model": {"teacher": TEACHER, "segmentation": False}}
    return made(tmp_path_factory.mktemp("runs") / "upstream", "metal", recipe=recipe)


@pytest.fixture(scope="module")
def torch_file(upstream: Run) -> Exported:
    return export(upstream, to="torch")[0]


@pytest.fixture(scope="module")
def loaded(torch_file: Exported) -> tuple[Any, str]:
    """The program, and the card that it holds."""
    held: dict[str, Any] = {"card.json": ""}
    program = torch.export.load(str(torch_file.path), extra_files=held)
    return program.module(), held["card.json"]


def session(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (the export extra)")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is captured and hardly anything written: for tests of what goes on around."""
    monkeypatch.setattr(exporting, "_program", lambda detector, size: None)
    monkeypatch.setattr(exporting, "_write_onnx", lambda program, path, told: path.write_bytes(b"onnx"))
    monkeypatch.setattr(
        exporting, "_onnx", lambda path: lambda images: (torch.zeros(len(images), 64, 64), torch.zeros(len(images)))
    )
    monkeypatch.setattr(exporting, "compare", lambda detector, run, size: Differences(1e-6, 1e-7))


# What the files say


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_onnx_file_says_of_any_batch_what_the_runs_own_detector_says(run: Run, onnx_file: Exported, count: int) -> None:
    images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))
    with torch.no_grad():
        own = run.detector(run.model())(images)
    found, score = session(onnx_file.path).run(["map", "score"], {"images": images.numpy()})
    np.testing.assert_allclose(found, own.map_BHW, atol=1e-5, rtol=0)
    np.testing.assert_allclose(score, own.score_B, atol=1e-5, rtol=0)
    assert own.map_BHW.std() > 1e-3  # else any constant would do


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_torch_file_does_so_too(upstream: Run, loaded: tuple[Any, str], count: int) -> None:
    images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))
    with torch.no_grad():
        own = upstream.detector(upstream.model())(images)
        found, score = loaded[0](images)
    torch.testing.assert_close(found, own.map_BHW, atol=1e-5, rtol=0)
    torch.testing.assert_close(score, own.score_B, atol=1e-5, rtol=0)


def test_inputs_and_outputs_have_their_names_and_shapes(onnx_file: Exported) -> None:
    opened = session(onnx_file.path)
    told = [(each.name, each.shape, each.type) for each in (*opened.get_inputs(), *opened.get_outputs())]
    assert told == [
        ("images", ["batch", 3, 64, 64], "tensor(float)"),
        ("map", ["batch", 64, 64], "tensor(float)"),
        ("score", ["batch"], "tensor(float)"),
    ]


def test_an_onnx_file_is_whole_and_of_the_operators_we_state(onnx_file: Exported) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx (the export extra)")
    onnx.checker.check_model(str(onnx_file.path), full_check=True)
    model = onnx.load(onnx_file.path)
    assert {each.domain: each.version for each in model.opset_import} == {"": exporting.OPSET}
    assert not any(each.external_data for each in model.graph.initializer)


def test_differences_are_found_small_and_told(onnx_file: Exported, torch_file: Exported) -> None:
    for done in (onnx_file, torch_file):
        assert done.differences is not None
        assert done.differences.largest < 1e-5
        assert done.bytes == done.path.stat().st_size


# What they tell about themselves


def test_the_card_tells_what_the_run_tells(run: Run, onnx_file: Exported) -> None:
    assert json.loads(onnx_file.card.read_text(encoding="utf-8")) == {
        "name": "metal",
        "categories": ["metal"],
        "size": 64,
        "resize": "squash",
        "overlap_ratio": None,
        "channels": "RGB",
        "threshold_image": LIMIT.image,
        "threshold_photograph": 1.5,
        "false_positive_rate": 0.01,
        "threshold_source": "validation",
        "cut": {"slice_size": 96, "overlap_ratio": 0.25, "edge": "shift"},
        "teacher": TEACHER,
        "teacher_sha256": run.contents.teacher,
        "threecad": __version__,
    }


def test_an_onnx_file_holds_its_card(onnx_file: Exported) -> None:
    held = session(onnx_file.path).get_modelmeta().custom_metadata_map
    card = json.loads(onnx_file.card.read_text(encoding="utf-8"))
    assert held.keys() == card.keys()
    assert all(
        value == (card[key] if isinstance(card[key], str) else json.dumps(card[key], sort_keys=True))
        for key, value in held.items()
    )
    assert float(held["threshold_image"]) == LIMIT.image


def test_a_card_is_what_its_schema_says(torch_file: Exported) -> None:
    validator = Draft202012Validator(Card.model_json_schema(mode="serialization"))
    told = json.loads(torch_file.card.read_text(encoding="utf-8"))
    validator.validate(told)
    assert not validator.is_valid(told | {"note": ""})


def test_a_torch_file_holds_its_card(torch_file: Exported, loaded: tuple[Any, str]) -> None:
    assert json.loads(loaded[1]) == json.loads(torch_file.card.read_text(encoding="utf-8"))


def test_squares_that_overlap_are_told_of_where_there_are_any(upstream: Run) -> None:
    tiled = upstream.recipe.model_copy(update={"data": Data(size=64, resize="tile", overlap_ratio=0.3)})
    other = Run(upstream.root)
    other.recipe = tiled
    assert exporting.card(other, other.model()).overlap_ratio == 0.3


def test_nothing_of_this_machine_is_in_a_file(run: Run, onnx_file: Exported, torch_file: Exported, tmp_path: Path) -> None:
    detector: Any = Brightness()
    exporting._write_onnx(exporting._program(detector, 64), tmp_path / "traced.onnx", exporting.card(run, run.model()))
    for path in (onnx_file.path, torch_file.path, tmp_path / "traced.onnx"):
        held = path.read_bytes()
        assert str(ROOT).encode() not in held
        assert str(Path(torch.__file__).parents[1]).encode() not in held
        assert str(onnx_file.path.parents[2]).encode() not in held
        assert b'File "' not in held
        assert b"stack_trace" not in held


def test_nothing_in_a_torch_file_is_pickled(torch_file: Exported) -> None:
    with zipfile.ZipFile(torch_file.path) as archive:
        for name in archive.namelist():
            held = archive.read(name)
            assert not held.startswith((b"PK", b"\x80")) or "/weights/weight_" in name, name
            if name.endswith("_config.json"):
                assert b'"use_pickle": true' not in held


def test_a_torch_file_opens_where_threecad_and_timm_are_not_installed(
    torch_file: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("threecad", "timm")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        import threecad.learning  # noqa: F401
    found, score = torch.export.load(str(torch_file.path)).module()(torch.zeros(1, 3, 64, 64))
    assert found.amax() == score


def test_the_same_run_gives_the_same_bytes(upstream: Run, torch_file: Exported, tmp_path: Path) -> None:
    again = export(upstream, tmp_path, to="torch", check=False)[0]
    assert again.path.read_bytes() == torch_file.path.read_bytes()
    assert again.card.read_bytes() == torch_file.card.read_bytes()


# How docs/export.md uses them


def recipes() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("resize", ["squash", "letterbox", "tile"])
@pytest.mark.parametrize("shape", [(64, 64), (300, 200), (200, 300), (33, 500), (20, 30), (65, 64), (1, 7), (96, 128)])
def test_the_recipe_makes_the_squares_that_threecad_makes(resize: Any, shape: tuple[int, int]) -> None:
    known: dict[str, Any] = {}
    exec(recipes()[0], known)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for overlap in (0.0, 0.2, 0.29, 0.5):
        data = Data(size=64, resize=resize, overlap_ratio=overlap)
        found = known["squares"](image, {"size": 64, "resize": resize, "overlap_ratio": overlap})
        wanted = np.stack([fit_image(image, fit, 64) for fit in fits(Size(*shape), data)])
        np.testing.assert_array_equal(found, wanted.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        assert found.dtype == np.float32


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_the_recipes_give_the_runs_own_scores(
    kind: str, run: Run, upstream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    done: Exported = request.getfixturevalue(f"{kind}_file")
    image = surface(3, 150)[:, :120]
    Image.fromarray(image).save(tmp_path / "photograph.png")
    for path in (done.path, done.card):
        (tmp_path / f"bottle{path.suffix}").write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"card": json.loads(done.card.read_text(encoding="utf-8"))}
    exec(recipes()[0], known)
    exec(recipes()[1 if kind == "onnx" else 2], known)
    own = run if kind == "onnx" else upstream
    size = known["card"]["size"]
    square = fit_image(image, fits(Size(150, 120), Data(size=size))[0], size)
    with torch.no_grad():
        wanted = own.detector(own.model())(torch.from_numpy(square).permute(2, 0, 1)[None] / 255)
    np.testing.assert_allclose(np.asarray(known["maps"]), wanted.map_BHW, atol=1e-5, rtol=0)
    if kind == "onnx":
        assert known["defective"] == bool(wanted.score_B.max() >= LIMIT.image)


# Which models, and where to


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("runs") / "three", "glass", "metal", "wood", recipe=SMALL).root


@pytest.fixture
def several(three: Path, tmp_path: Path) -> Run:
    return Run(shutil.copytree(three, tmp_path / "several"))


@pytest.mark.usefixtures("quick")
def test_every_model_becomes_a_file_with_a_card(several: Run) -> None:
    told: list[Exported] = []
    done = export(several, tell=told.append)
    assert [each.name for each in done] == ["glass", "metal", "wood"]
    assert told == done
    found = sorted(path.name for path in (several.root / "export").iterdir())
    assert found == ["glass.json", "glass.onnx", "metal.json", "metal.onnx", "wood.json", "wood.onnx"]


@pytest.mark.usefixtures("quick")
def test_only_what_is_named_is_written_once_each(several: Run, tmp_path: Path) -> None:
    done = export(several, tmp_path / "some", categories=["wood", "glass", "wood"])
    assert [each.path.name for each in done] == ["glass.onnx", "wood.onnx"]


@pytest.mark.usefixtures("quick")
def test_a_joint_model_is_written_once_whichever_of_its_categories_is_named(tmp_path: Path) -> None:
    run = made(tmp_path / "run", "glass", "metal", joint=True, recipe=SMALL)
    done = export(run, categories=["metal", "glass"])
    assert [each.path.name for each in done] == ["joint.onnx"]
    assert json.loads(done[0].card.read_text(encoding="utf-8"))["categories"] == ["glass", "metal"]


def test_a_category_that_the_run_has_not_is_told_with_those_it_has(several: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model of 'steel'; expected one of glass, metal, wood"):
        export(several, tmp_path / "none", categories=["glass", "steel"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", ["", "metal"])
def test_the_runs_own_files_are_never_in_the_way(several: Run, place: str) -> None:
    before = {path: path.read_bytes() for path in several.root.rglob("*.*")}
    with pytest.raises(ConfigError, match=r"holds files of the run itself; expected another folder \(--out\)"):
        export(several, several.root / place)
    assert {path: path.read_bytes() for path in several.root.rglob("*.*")} == before


# What can go wrong


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("found", [Differences(2e-4, 0), Differences(0, 2e-4), Differences(float("nan"), 0)])
def test_a_file_that_says_something_else_is_not_kept(
    run: Run, tmp_path: Path, found: Differences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "compare", lambda detector, run, size: found)
    with pytest.raises(
        ThreecadError, match=r"metal\.onnx: its maps differ from the run's own by up to .* expected at most 0\.0001"
    ):
        export(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_file_that_says_something_else_leaves_the_one_before_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(exporting, "_write_onnx", lambda program, path, told: path.write_bytes(b"other"))
    monkeypatch.setattr(exporting, "compare", lambda detector, run, size: Differences(1, 1))
    with pytest.raises(ThreecadError):
        export(run, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_comparison_finds_the_largest_difference_of_any_batch(run: Run) -> None:
    detector = run.detector(run.model())

    def off(images: Tensor) -> tuple[Tensor, Tensor]:
        found = detector(images)
        return found.map_BHW + (0.25 if len(images) == 3 else 0.125), found.score_B - 0.5

    assert exporting.compare(detector, detector, 64) == Differences(0, 0)
    assert exporting.compare(detector, off, 64) == Differences(pytest.approx(0.25, abs=1e-6), pytest.approx(0.5, abs=1e-6))


def test_a_map_of_nothing_but_nan_agrees_with_none() -> None:
    assert not Differences(float("nan"), 0.0).largest <= exporting.TOLERANCE
    assert not Differences(0.0, float("nan")).largest <= exporting.TOLERANCE


@pytest.mark.usefixtures("quick")
def test_without_check_nothing_is_run_and_the_file_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_onnx", lambda path: pytest.fail("it was run"))
    done = export(run, tmp_path, check=False)[0]
    assert done.differences is None
    assert done.path.read_bytes() == b"onnx"


def test_a_package_that_is_missing_is_told_with_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, lacking = importlib.util.find_spec, {"onnxscript", "onnxruntime"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in lacking else find(name))
    with pytest.raises(ConfigError) as refused:
        export(run, tmp_path)
    assert str(refused.value) == (
        "onnxscript and onnxruntime not found; expected pip install 'threecad[export]', or --format torch"
    )
    with pytest.raises(ConfigError, match="onnxscript not found"):
        export(run, tmp_path, check=False)


def test_a_torch_that_is_too_old_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ConfigError, match=r"found torch 2\.5\.1\+cpu; expected 2\.6 or newer"):
        export(run, tmp_path)


def test_more_weights_than_an_onnx_file_holds_are_refused_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_LARGEST", 1000)
    with pytest.raises(ThreecadError, match="an ONNX file holds at most 2; expected --format torch"):
        export(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_full_disk_is_a_sentence_and_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(program: object, path: Path, told: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_write_onnx", full)
    with pytest.raises(ThreecadError, match=r"metal\.onnx: cannot be written \(No space left on device\)"):
        export(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_operation_that_onnx_has_not_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **also: object) -> None:
        raise torch.onnx.OnnxExporterError("No decompositions registered for bessel_j0\n  and much more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        ThreecadError, match=r"ONNX cannot express \(No decompositions registered for bessel_j0\); expected --format"
    ):
        exporting._write_onnx(None, tmp_path / "a.onnx", exporting.Card.model_construct())  # type: ignore[arg-type]


def test_a_damaged_run_is_told(several: Run, tmp_path: Path) -> None:
    (several.root / "glass" / runs.THRESHOLD).unlink()
    with pytest.raises(ReadError, match=r"threshold\.json: cannot be read"):
        export(several, tmp_path)


# The command


@pytest.mark.usefixtures("quick")
def test_the_command_tells_file_size_and_differences(several: Run) -> None:
    result = CliRunner().invoke(main, ["export-model", str(several.root), "--category", "wood"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    path = several.root / "export" / "wood.onnx"
    assert result.stdout == f"wood: {path}, 0.0 MB; differs from the run's own by at most 1.0e-06 (map) and 1.0e-07 (score)\n"
    without = CliRunner().invoke(main, ["export-model", str(several.root), "--category", "wood", "--no-check"])
    assert without.stdout.endswith("not compared with the run's own\n")


@pytest.mark.usefixtures("quick")
def test_the_command_prints_one_json_object(several: Run, tmp_path: Path) -> None:
    arguments = ["export-model", str(several.root), "--out", str(tmp_path / "out"), "--category", "all", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    told = json.loads(result.stdout)
    assert [row["name"] for row in told["models"]] == ["glass", "metal", "wood"]
    assert told["models"][0] == {
        "name": "glass",
        "file": str(tmp_path / "out" / "glass.onnx"),
        "card": str(tmp_path / "out" / "glass.json"),
        "bytes": 4,
        "differences": {"map": 1e-6, "score": 1e-7},
    }


def test_a_folder_that_is_no_run_is_wrong_usage(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export-model", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr == f"threecad: {tmp_path}: holds no run.json; expected the folder of a run of threecad train-cfrg\n"
