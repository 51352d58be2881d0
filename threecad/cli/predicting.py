"""The command that uses a trained detector: predict. What it needs of torch is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from threecad.cli.frame import DONE, FAILED, LOOK, examples, main, mistakes, print_json, printing
from threecad.cli.options import LOCAL, json_option


@main.command(
    epilog=examples(
        "threecad predict runs/data photos/ found/",
        "threecad predict runs/data photos/ found/ --copy-images     # found/labelme/ opens in labelme at once",
        "threecad predict runs/data part.jpg found/ --threshold 0.8",
        "threecad predict runs/data incoming/ found/ --category cover --no-maps --fail-on-defect",
    ),
    short_help="Find anomalies in photographs with a trained detector.",
)
@click.argument("run", type=LOCAL)
@click.argument("images", type=LOCAL)
@click.argument("out", type=LOCAL)
@click.option("--category", metavar="NAME", help="The model to use, where RUN holds several [default: that of the first folder].")
@click.option("--threshold", type=float, help="Score from which on something is defective [default: the run's].")
@click.option(
    "--slice-size", type=int, metavar="N", help="Cut photographs into windows of N pixels [default: as the data set's were]."
)
@click.option("--min-area", type=click.IntRange(min=1), default=1, show_default=True, help="Least pixels of a region.")
@click.option("--label", default="anomaly", show_default=True, metavar="NAME", help="What regions are called in the annotations.")
@click.option("--copy-images", is_flag=True, help="Copy each image beside its annotation.")
@click.option("--no-maps", is_flag=True, help="Write no maps.")
@click.option("--no-overlays", is_flag=True, help="Write no overlays.")
@click.option("--fail-on-defect", is_flag=True, help="Exit with 3 when any image is defective.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, or auto: a GPU where there is one.")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True, help="Squares looked at at once.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that decode and write [default: one a core].")
@click.option("--overwrite", is_flag=True, help="Start afresh; also in a folder of other files, which stay.")
@json_option
def predict(
    run: Path,
    images: Path,
    out: Path,
    *,
    category: str | None,
    threshold: float | None,
    slice_size: int | None,
    min_area: int,
    label: str,
    copy_images: bool,
    no_maps: bool,
    no_overlays: bool,
    fail_on_defect: bool,
    device: str,
    batch_size: int,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Look at the photographs in IMAGES, a folder or a file, with the detector in RUN, and write what is found into OUT.

    Photographs of any size are cut as those of the run's data set were. OUT/scores.jsonl has a row an image, OUT/maps/ the score
    of each pixel (16 bits), OUT/overlays/ pictures for people, OUT/labelme/ the regions found as annotations.

    An interrupted run goes on where it stopped, to the same bytes. Exit code 3: some images could not be read.
    """
    with mistakes():
        from threecad.cli.learning import needs_torch

        needs_torch()
        from threecad.learning import predict as predicting
        from threecad.learning.predict import terminal
        from threecad.pipeline import summary

        wishes = predicting.Wishes(
            label=label, min_area=min_area, maps=not no_maps, overlays=not no_overlays, copy_images=copy_images
        )
        with summary.progress("predicting", as_json) as progress:
            done = predicting.predict(
                run,
                images,
                out,
                category=category,
                threshold=threshold,
                slice_size=slice_size,
                wishes=wishes,
                device=device,
                batch_size=batch_size,
                workers=workers,
                overwrite=overwrite,
                progress=progress,
            )
        for line in terminal.failures(done):
            click.echo(f"threecad: {line}", err=True)
        with printing():
            if as_json:
                print_json(terminal.as_json(done))
            else:
                terminal.show(done)
    if done.failed:
        sys.exit(LOOK if done.verdicts else FAILED)
    sys.exit(LOOK if fail_on_defect and done.defective else DONE)
