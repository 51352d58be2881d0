"""The command that trains: train-cfrg. What it needs of torch is imported when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threecad.cli.frame import DONE, examples, main, mistakes, plain, print_json, printing
from threecad.cli.options import LOCAL, json_option, layout_options, request_from
from threecad.errors import ConfigError

if TYPE_CHECKING:
    from threecad.learning.config import Recipe
    from threecad.learning.loop import Progress

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
_BAR = 16
"""Columns of a terminal that a training's bar takes."""


@main.command(
    "train-cfrg",
    epilog=examples(
        "threecad train-cfrg data/                                # one model a category, into runs/data",
        "threecad train-cfrg data/ --category camera_cover --epochs 20 --textures dtd/images",
        "threecad train-cfrg mvtec/ --pipeline cfrg-upstream --devices cuda:0,1",
        "threecad train-cfrg data/ --pipeline cfrg-small --teacher-weights lite0.pth    # a laptop without a hub",
        "threecad train-cfrg data/ --run runs/data --resume       # go on with one that was cut off",
    ),
    short_help="Train the reference detector on a data set.",
)
@click.argument("dataset", type=LOCAL)
@click.option("--category", "categories", multiple=True, metavar="NAME|all", help="Only this category; may be repeated.")
@click.option("--run", "run", type=LOCAL, metavar="DIR", help="Where it goes [default: runs/DATASET].")
@click.option(
    "--pipeline", metavar="FILE", help="A recipe in TOML, or one of ours: cfrg, cfrg-upstream, cfrg-small, ablations/wrc …"
)
@click.option("--textures", type=LOCAL, metavar="DIR", help="Pictures to paint anomalies with, such as DTD's.")
@click.option("--teacher", metavar="NAME", help="The teacher, a backbone of timm's [default: the recipe's].")
@click.option("--teacher-weights", metavar="FILE", help="Its weights, where timm's hub is out of reach.")
@click.option("--devices", default="auto", show_default=True, help="cpu, cpu:2, cuda, cuda:0,3, or how many.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Numbers in the networks [default: the recipe's].")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the images [default: the recipe's].")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a step on each device [default: the recipe's].")
@click.option("--seed", type=int, help="Another start and other anomalies [default: the recipe's].")
@click.option("--joint/--no-joint", default=None, help="One model for all categories, or one for each [default: the recipe's].")
@click.option("--set", "said", multiple=True, metavar="SECTION.KEY=VALUE", help="Any other setting; may be repeated.")
@click.option("--resume", is_flag=True, help="Go on with the training in --run that was cut off.")
@click.option("--overwrite", is_flag=True, help="Replace the run in --run.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's files too (needs tensorboard).")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that decode images [default: one a core].")
@json_option
@layout_options
def train_cfrg(
    dataset: Path,
    *,
    categories: tuple[str, ...],
    run: Path | None,
    textures: Path | None,
    devices: str,
    resume: bool,
    overwrite: bool,
    tensorboard: bool,
    workers: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train CFRG, the 3CAD paper's detector, on the good images of DATASET.

    DATASET is what `threecad convert` wrote, or a data set of anybody's in a layout that `threecad stats` reads. Only good images
    train; some are held out to tell from which score on an image is defective. The last epoch is kept, and the test images are
    never looked at. The log of each epoch is RUN/MODEL/log.csv. docs/training.md tells more.
    """
    with mistakes():
        if overwrite and run is None:
            raise ConfigError("found --overwrite without --run; expected --run DIR, the run that is to be replaced")
        needs_torch()
        from threecad.learning.train import train
        from threecad.pipeline.summary import count

        try:
            with showing(quiet=as_json) as (progress, note):
                done = train(
                    dataset,
                    run or free(Path("runs"), dataset.resolve().name, resume=resume),
                    recipe_from(options),
                    categories=() if "all" in categories else categories,
                    textures=textures,
                    device=devices,
                    resume=resume,
                    overwrite=overwrite,
                    tensorboard=tensorboard,
                    request=request_from(options),
                    workers=workers,
                    progress=progress,
                    note=note,
                )
        except KeyboardInterrupt:
            click.echo(
                "\nthreecad: interrupted; the same command with --run and --resume goes on from the last checkpoint.", err=True
            )
            sys.exit(130)
        with printing():
            if as_json:
                models = [model.model_dump(mode="json") for model in done.contents.models]
                print_json({"run": str(done.root), "models": models})
            else:
                for model in done.contents.models:
                    limit = done.threshold(model)
                    held = (
                        f"{count(limit.images, 'good image')} {'held out' if limit.source == 'validation' else 'it trained on'}"
                    )
                    click.echo(
                        f"{plain(model.name)}: {count(model.images, 'image')}, {model.seconds:.0f} s; "
                        f"defective from {limit.image:.4g} on, by {held}"
                    )
                folder = plain(done.root)
                click.echo(
                    f"{folder} · next: threecad evaluate {folder} {plain(dataset)} · threecad predict {folder} PHOTOGRAPHS/ OUT/"
                )
    sys.exit(DONE)


def needs_torch() -> None:
    """ConfigError with what to install where the extra `train` is missing."""
    import importlib.util

    lacking = [name for name in ("torch", "timm", "lightning_fabric", "safetensors") if importlib.util.find_spec(name) is None]
    if lacking:
        raise ConfigError(f"{' and '.join(lacking)} not found; expected pip install 'threecad[train]'")


def recipe_from(options: dict[str, Any]) -> Recipe:
    from threecad.learning.config import Recipe, load, override

    paths = {
        "teacher": "model.teacher",
        "teacher_weights": "model.teacher_weights",
        "precision": "train.precision",
        "epochs": "train.epochs",
        "batch_size": "train.batch_size",
        "seed": "train.seed",
        "joint": "data.joint",
    }
    name = options["pipeline"]
    changes = {path: options[option] for option, path in paths.items()}
    return override(load(name) if name else Recipe(), changes | dict(map(_setting, options["said"])))


def _setting(text: str) -> tuple[str, object]:
    """`train.epochs=5` as path and value; the value is TOML, or else a word.

    >>> _setting("train.milestones=[0.5]"), _setting("train.optimizer=adam")
    (('train.milestones', [0.5]), ('train.optimizer', 'adam'))
    """
    import tomllib

    path, given, value = text.partition("=")
    if not given or path.count(".") != 1:
        raise ConfigError(f"found --set {text!r}; expected SECTION.KEY=VALUE such as model.recovery=false")
    try:
        return path.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def free(home: Path, name: str, *, resume: bool) -> Path:
    """The first of NAME, NAME-2, NAME-3 … that holds nothing of a training; to resume, the last that does."""
    number, found = 1, home / name
    before = found
    while _taken(found):
        number, before = number + 1, found
        found = home / f"{name}-{number}"
    return before if resume else found


def _taken(place: Path) -> bool:
    """Whether something stands there. A training that could not begin, for want of weights say, leaves a mark alone."""
    from threecad.learning.home import MARK

    try:
        return any(path.name != MARK for path in place.iterdir())
    except FileNotFoundError:
        return place.is_symlink()
    except OSError:  # no folder, or none of ours
        return True


@contextmanager
def showing(*, quiet: bool) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """How a training is shown, on standard error: a bar on a terminal, else a line an epoch; and how it says a sentence."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        with _bar(console) as shown:
            yield shown
    else:
        yield _lines(), lambda text: click.echo(f"threecad: {plain(text)}", err=True)


@contextmanager
def _bar(console: Any) -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    from rich import progress as parts
    from rich.markup import escape

    bar = parts.Progress(
        parts.TextColumn("{task.description}"),
        parts.BarColumn(bar_width=_BAR),
        parts.TextColumn("{task.fields[told]}"),
        console=console,
    )
    tasks: dict[str, Any] = {}
    with bar:

        def progress(step: Progress) -> None:
            if step.model not in tasks:
                tasks[step.model] = bar.add_task("", total=1.0, told="")
            share = (step.epoch - 1 + step.done / step.total) / step.epochs if step.epoch else step.done / step.total
            where = _where(step)
            room = console.width - len(where) - _BAR - 2
            bar.update(tasks[step.model], completed=share, description=escape(where), told=escape(told(step, room)))

        yield progress, lambda text: console.print(f"threecad: {plain(text)}", markup=False, highlight=False)


def _lines() -> Callable[[Progress], None]:
    said: dict[str, int] = {}

    def progress(step: Progress) -> None:
        if step.epoch and step.done == step.total and said.get(step.model) != step.epoch:
            said[step.model] = step.epoch
            click.echo(f"{_where(step)}  {told(step)}", err=True)

    return progress


def _where(step: Progress) -> str:
    return f"{plain(step.model)}  epoch {step.epoch}/{step.epochs}" if step.epoch else f"{plain(step.model)}  decoding"


def told(step: Progress, room: int | None = None) -> str:
    """One line: losses, images a second, waiting for data, memory, time left; not all of it where there is little room."""
    if not step.epoch:
        return f"{step.done}/{step.total} images"
    minutes, seconds = divmod(int(step.seconds_left), 60)
    left = f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds} s"
    rate = f"{step.images_per_second:.0f}" if step.images_per_second >= 10 else f"{step.images_per_second:.1f}"
    parts = [f"L_{name} {loss:.3f}" for name, loss in zip(("dis", "rec", "bce"), step.losses, strict=True)]
    parts += [f"{rate} img/s", f"data wait {100 * step.waiting:.0f} %", f"{step.gigabytes:.1f} GB", f"{left} left"]
    for at in (-2, -2, -2, 0, 0, 0):  # memory, waiting, images a second, then the losses
        if room is not None and len("  ".join(parts)) > room:
            del parts[at]
    return "  ".join(parts)
