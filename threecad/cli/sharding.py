"""The command that packs a data set into a few large files: export."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threecad.cli.frame import DONE, examples, main, mistakes, print_json, printing
from threecad.cli.options import LOCAL, json_option, workers_option

if TYPE_CHECKING:
    from threecad.pipeline.shards import Export


@main.command(
    epilog=examples(
        "threecad export data/ shards/ --to webdataset --shuffle    # shards/train-000000.tar, … and index.json",
        "threecad export data/ hub/ --to parquet                    # then datasets.load_dataset('hub')",
        "threecad export data/ shards/ --to webdataset --split train --category cover --shard-size 1000",
        "threecad export data/ shards/ --to webdataset --seed 7 --json",
    ),
    short_help="Pack a data set's tiles into shards for training.",
)
@click.argument("dataset", type=LOCAL)
@click.argument("out", type=LOCAL)
@click.option(
    "--to",
    type=click.Choice(["webdataset", "parquet"]),
    required=True,
    help="Tar files for WebDataset, or Parquet for Hugging Face's datasets.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["train", "validation", "test"]),
    help="Only this split; may be repeated.",
)
@click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this category; may be repeated.")
@click.option("--shard-size", type=float, default=500, show_default=True, metavar="MB", help="Most megabytes in a shard.")
@click.option("--samples-per-shard", type=click.IntRange(min=1), metavar="N", help="Most samples in a shard.")
@click.option("--shuffle", is_flag=True, help="Mix the samples of each split [default: by photograph].")
@click.option("--seed", type=int, help="Seed of the shuffle, and a wish for one [default: 0].")
@click.option("--overwrite", is_flag=True, help="Replace another export; also write among other files, which stay.")
@workers_option
@json_option
def export(
    dataset: Path,
    out: Path,
    *,
    to: Any,
    splits: tuple[str, ...],
    categories: tuple[str, ...],
    shard_size: float,
    samples_per_shard: int | None,
    shuffle: bool,
    seed: int | None,
    overwrite: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Pack the tiles of DATASET, which `threecad convert` made, into a few large files in OUT, for training on a cluster.

    Images and masks are copied byte for byte, each checked against its digest. The same data set and options give the same
    shards. An interrupted export goes on where it stopped; OUT/index.json is written last. docs/sharding.md shows how to read
    them. A trained detector's models are written by export-model, not by this.
    """
    with mistakes():
        from threecad.pipeline import shards, summary

        with summary.progress("exporting", as_json) as progress:
            done = shards.export(
                dataset,
                out,
                to,
                split=splits or None,
                category=categories or None,
                shard_size=shard_size,
                samples_per_shard=samples_per_shard,
                seed=0 if shuffle and seed is None else seed,
                overwrite=overwrite,
                workers=workers,
                progress=progress,
            )
        with printing():
            if as_json:
                print_json(_as_json(done))
            else:
                _show(done)
    sys.exit(DONE)


def _as_json(done: Export) -> dict[str, object]:
    return {
        "bytes": done.bytes,
        "index": str(done.index),
        "out": str(done.out),
        "samples": done.samples,
        "seconds": round(done.seconds, 3),
        "shards": [asdict(shard) for shard in done.shards],
        "to": done.to,
        "written": done.written,
    }


def _show(done: Export) -> None:
    from rich.table import Table

    from threecad.pipeline import summary

    console = summary.terminal()
    kept = len(done.shards) - done.written
    if done.written:
        told = f"{summary.count(done.written, 'shard')} written in {done.seconds:.1f} s"
        summary.say(console, f"{told}, {kept:,} there already." if kept else f"{told}.")
    else:
        there = summary.count(kept, "shard")
        summary.say(console, f"Nothing to do: {there} there already, digests checked ({done.seconds:.1f} s).")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("split", no_wrap=True)
    for column in ("samples", "shards", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for split in dict.fromkeys(shard.split for shard in done.shards):
        own = [shard for shard in done.shards if shard.split == split]
        samples, size = sum(shard.samples for shard in own), sum(shard.bytes for shard in own)
        table.add_row(split, f"{samples:,}", f"{len(own):,}", f"{size / 1e6:,.1f}")
    console.print()
    console.print(table)
    console.print()
    summary.say(console, f"Index: {done.index}", whole=True)
    summary.say(console, f"Next, in Python: {_next(done)}", whole=True)


def _next(done: Export) -> str:
    first = done.shards[0]
    if done.to == "parquet":
        return f"datasets.load_dataset({str(done.out)!r}, split={first.split!r})"
    own = [shard.path for shard in done.shards if shard.split == first.split]
    stem, last = own[0].removesuffix(".tar"), own[-1].removesuffix(".tar").rpartition("-")[2]
    name = own[0] if len(own) == 1 else f"{first.split}-{{{stem.rpartition('-')[2]}..{last}}}.tar"
    return f"webdataset.WebDataset({str(done.out / name)!r})"
