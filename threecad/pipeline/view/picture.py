"""The view as a value, how a scene becomes one, and where it goes: into a file, onto the terminal, into words."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from threecad.domain import MEANING, Finding, Size
from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats.png import encode_png
from threecad.imaging import drawing
from threecad.pipeline.files import write_atomically
from threecad.pipeline.view.places import is_folder

_LISTED = 200
"""Findings that are told one by one on the terminal."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture to look at. `pixels` is (height, width, 3) uint8 RGB: the image at the top left, below it the strip that says
    what the marks mean. `findings` are in the order of their numbers in the picture (`drawing.numbered` gives these).

    `name` is what a file of it is called by default, `root` the folder of photographs or tiles in which it must not be put.
    """

    pixels: NDArray[np.uint8]
    title: str
    legend: tuple[drawing.Key, ...]
    findings: tuple[Finding, ...]
    name: str
    root: Path


@dataclass(frozen=True, slots=True)
class Ask:
    """How it is to be shown."""

    longest: int
    windows: bool
    shape: int | None


def viewed(scene: drawing.Scene, shown: drawing.Frame, name: str, root: Path, ask: Ask) -> View:
    """The view of a scene; where one shape is asked for, with what is said about it and its surroundings."""
    if ask.shape is not None:
        near = [each for each in scene.findings if each.shape == ask.shape or (each.place and shown.holds(each.place))]
        scene = replace(scene, findings=near)
    pixels, legend = drawing.draw(scene, shown)
    ordered = tuple(finding for _, finding in drawing.numbered(scene.findings))
    short = name.encode("utf-8", "ignore")[:120].decode("utf-8", "ignore").strip(". ") or "image"
    return View(pixels, scene.title, legend, ordered, short, root)


def measures(size: Size, shown: drawing.Frame) -> str:
    """The size of an image, and what part of it is shown how large, in words."""
    text = f"{size.width} × {size.height} px"
    window = shown.window
    if window.size != size:
        text += f", of these {window.size.width} × {window.size.height} from ({window.left}, {window.top})"
    times = (
        shown.size.width / window.size.width
        if window.size.width >= window.size.height
        else shown.size.height / window.size.height
    )
    return text if times == 1 else f"{text}, enlarged {times:.0f} times" if times > 1 else f"{text}, shown at {times:.0%}"


def save(seen: View, file: str | Path | None = None, force: bool = False) -> Path:
    """Write the picture as a PNG, all of it or nothing, and say where: `<name>.view.png` in the current folder where no `file` is
    named, which replaces an earlier one.

    ConfigError where `file` is no PNG's name, exists (but for `force`), or its folder does not; LayoutError where it would lie
    among the photographs or tiles it shows, and the next conversion would take it for one of them (but for `force`).
    """
    path = Path(f"{seen.name}.view.png" if file is None else file)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: expected a name that ends in .png")
    if not is_folder(path.parent):
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first or choose another")
    if is_folder(path) or (os.path.lexists(path) and not force and file is not None):
        raise ConfigError(f"{path} exists already; choose another name or pass --force")
    if not force and path.parent.resolve().is_relative_to(seen.root):
        raise LayoutError(
            f"{path} would lie among the images it shows, and pass for one of them later; name a file outside "
            f"{seen.root.name or seen.root} with --out, or pass --force"
        )
    try:
        write_atomically(path, encode_png(seen.pixels))
    except OSError as error:
        raise ThreecadError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def show(seen: View) -> bool:
    """Draw the picture on the terminal; False where there is none, or it has no protocol for images (Sixel, or Kitty's)."""
    keys, screen = sys.__stdin__, sys.__stdout__
    if keys is None or screen is None or sys.stdout is not screen or not (keys.isatty() and screen.isatty()):
        return False
    if not os.get_terminal_size(screen.fileno()).columns:  # one that does not know its own size cannot be drawn on
        return False
    from PIL import Image
    from rich.console import Console
    from textual_image import renderable  # asks the terminal what it can do, and so must not be imported without one

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return False
    Console().print(renderable.Image(Image.fromarray(seen.pixels), width="auto", height="auto"))
    return True


def describe(seen: View) -> list[str]:
    """What the picture has no room or no letters for, a line each: the legend's full names, and every finding with its detail."""
    lines = [f"{key.text}: {key.name}" for key in seen.legend if key.style == "type" and key.text != key.name]
    for number, finding in drawing.numbered(seen.findings)[:_LISTED]:
        which = "" if finding.shape is None else f"shape {finding.shape}: "
        mark = "-" if number is None else str(number)
        meaning = f"{MEANING[finding.code]}; {finding.detail}" if finding.detail else MEANING[finding.code]
        lines.append(f"{mark:>3}  {finding.code.value} {finding.action.value}  {which}{meaning}")
    if len(seen.findings) > _LISTED:
        lines.append(f"     and {len(seen.findings) - _LISTED:,} more findings")
    return lines
