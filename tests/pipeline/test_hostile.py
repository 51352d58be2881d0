"""Files that nobody meant to be read: whatever they hold, a run goes on, tells of every shape and stays in its folder."""

from __future__ import annotations

import io
import json
import os
import random
import re
import socket
import struct
import threading
import tracemalloc
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from photographs import BOW_TIE, SMALL, photograph, put, square
from PIL import Image

from threecad.domain import Action, Code, Finding, State
from threecad.formats.dataset import read_findings, read_manifest, read_samples
from threecad.pipeline.check import check
from threecad.pipeline.config import Pipeline, override
from threecad.pipeline.convert import convert
from threecad.pipeline.sources import Reader
from threecad.settings import Reading

pytestmark = pytest.mark.timeout(180)  # a pipe that is waited for would wait for ever

UNREADABLE = {Code.ANNOTATION_UNREADABLE, Code.NOT_LABELME}
PIPELINE = override(SMALL, {"tiling.slice_size": 128, "read.max_megapixels": 30.0, "read.max_json_megabytes": 8.0})

LABELS = [
    *("../../x", "/etc/passwd", "..", ".", "a/b\\c", "C:\\x", "~", "$(id)", "`id`", "-rf", "x" * 300, "x" * 100_000),
    *("good", "GOOD", "good ", "train", "ground_truth", "combined", "CON", "nul", "aux.png", "com1", "a:b", "a.", ".hidden"),
    *("<script>alert(1)</script>", "=cmd()", "+1", "@SUM(A1)", "\t=1", "%00", "%2e%2e%2f", "?*|\"'", "{0}", "%s"),
    *("😀", "\u202egnp.exe", "\u200b", "\ufeffdent", "e\u0301", "é", "ß", "SS", "İ", "ı", "K", "划痕", "\U000e0001"),
    *("a\nb", "a\x00b", "\x1b[2J", "\x07", "\r", "\u2028", "\x7f", "\x9b", "", " ", "__ignore__", "_background_", "dent", "Dent"),
]
WILD: list[Any] = [
    *(None, True, False, 0, -1, 3, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 2**31, 2**63, 10**30),
    *(-(10**400), "", "7", "x" * 5000, "\x00", "data:image/png;base64,", "AAAA", [], {}, [[]], [{}], [[1, 2], [3]], {"": {}}),
    *([[0.5, 0.5]] * 3, [[1, 1]], [["1", "2"], [3, 4], [5, 6]], [[1, 2, 3]] * 4, [[float("nan"), 1], [5, 5], [9, 1]]),
    *("polygon", "circle", "mask", "line", "points", "oriented_rectangle", "spline", "../../x.png", "/dev/zero"),
]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class Mutants:
    """Broken versions of files, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def bytes_of(self, data: bytes) -> bytes:
        """A file after an accident: cut off, bits turned, a piece lost, doubled, or written over."""
        some = bytearray(data)
        start = self.random.randrange(len(some) + 1)
        end = min(len(some), start + self.random.choice([1, 2, 16, 300, len(some)]))
        noise = self.random.randbytes(self.random.choice([1, 4, 64]))
        accident = self.random.randrange(7)
        if accident == 0:
            return bytes(some[:start])
        if accident == 1:
            for _ in range(self.random.choice([1, 3, 30])):
                some[self.random.randrange(len(some))] ^= 1 << self.random.randrange(8)
        elif accident == 2:
            del some[start:end]
        elif accident == 3:
            some[start:start] = some[start:end][:100_000]
        elif accident == 4:
            some[start : start + len(noise)] = noise
        elif accident == 5:
            some[start:start] = noise
        else:
            some[: min(self.random.choice([1, 8, 64]), len(some))] = b""
        return bytes(some)

    def tree_of(self, tree: Any) -> Any:
        """A labelme file with one to four of its values, keys or entries changed for something else."""
        tree = json.loads(json.dumps(tree))
        for _ in range(self.random.choice([1, 1, 2, 4])):
            places = list(self._places(tree))
            if not places:
                break
            place, key = self.random.choice(places)
            change = self.random.randrange(6)
            if change == 0:
                del place[key]
            elif change == 1 and isinstance(place, list):
                place.insert(key, place[key])
            elif change == 2 and isinstance(place, dict):
                place[self.random.choice([*LABELS, "shapes", "points", "label"])] = place[key]
            elif change == 3:
                place[key] = [place[key]]
            elif change == 4:
                place[key] = nested(self.random.choice([1, 50, 400]))
            else:
                place[key] = self.random.choice(WILD)
        return tree

    def _places(self, value: Any) -> Iterator[tuple[Any, Any]]:
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            yield value, key
            if self.random.random() < 0.5:
                yield from self._places(value[key])


def annotations(bases: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """`count` broken labelme files: half after an accident, half with other values."""
    mutants = Mutants(seed)
    for number in range(count):
        data = bases[number % len(bases)]
        try:
            tree = json.loads(data)
        except ValueError:
            tree = None
        if tree is None or number % 2:
            yield mutants.bytes_of(data)
        else:
            text = json.dumps(mutants.tree_of(tree), ensure_ascii=number % 4 == 0)
            yield text.encode("utf-8", "surrogatepass")


def crafted() -> Iterator[bytes]:
    """Labelme files with one thing in them that was thought of beforehand."""

    def file(*shapes: object, **more: object) -> bytes:
        keys = {"version": "5.5.0", "shapes": list(shapes), "imagePath": "x.png", "imageHeight": 150, "imageWidth": 220} | more
        return json.dumps(keys).encode()

    for label in LABELS:
        yield file(square(label, 30, 30, 40), square("dent", 100, 30, 40))
    for value in WILD:
        for key in ("points", "group_id", "flags", "shape_type", "description", "mask"):
            yield file(square("dent", 30, 30, 40) | {key: value}, square("dent", 100, 30, 40))
        yield file(square("dent", 30, 30, 40), imageHeight=value, imageWidth=value)
        yield file(square("dent", 30, 30, 40), flags=value, version=value, imageData=value, imagePath=value)
    yield from (b"", b" ", b"\x00" * 1000, file())
    yield from (
        b"null",
        b"[]",
        b"7",
        b'""',
        b"{}",
        b'{"shapes": {}}',
        b'{"shapes": null, "imagePath": "a.png"}',
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    )
    yield b"[" * 200_000
    yield b'{"shapes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield b'{"shapes": [' + b"null," * 20_000 + b"null]}"
    yield b'{"shapes": [], "imagePath": "a.png", "imageHeight": ' + b"9" * 10_000 + b"}"
    yield b'{"shapes": [{"label": "a", "label": "b", "points": [], "points": [[9, 9], [60, 9], [60, 60]]}], "shapes": [{}, {}]}'
    yield b'{"shapes": [{"label": "\\ud800", "points": [[9, 9], [60, 9], [60, 60]]}]}'
    yield b'{"shapes": [{"label": "\xed\xa0\x80", "points": [[9, 9], [60, 9], [60, 60]]}]}'
    yield b'{"shapes": [{"label": "\xc8\xf0", "points": [[9, 9], [60, 9], [60, 60]]}]}'
    dice = random.Random(5)
    star = [[dice.uniform(0, 220), dice.uniform(0, 150)] for _ in range(20_000)]
    ring = [[110 + 60 * (1 if k % 2 else 0.9) * dice.random(), 75 + k * 1e-4] for k in range(100_000)]
    yield file(square("dent", 0, 0, 1) | {"points": star})
    yield file(square("dent", 0, 0, 1) | {"points": ring})
    yield file(*(square(f"type {number}", number % 200, number % 140, 3, group_id=10**30 + number) for number in range(400)))


def shapes_in(data: bytes) -> int | None:
    """How many shapes a file holds by another parser; None where it is no JSON, or none with a list of shapes."""
    for encoding in (json.detect_encoding(data), "gb18030"):
        try:
            tree = json.loads(data.decode(encoding), parse_int=lambda digits: 0)
        except (ValueError, RecursionError):
            continue
        shapes = tree.get("shapes") if isinstance(tree, dict) else None
        return len(shapes) if isinstance(shapes, list) else None
    return None


def outside(folder: Path, *ours: Path) -> set[Path]:
    """Every file below a folder that does not lie in one of `ours`."""
    return {path for path in folder.rglob("*") if not any(path.is_relative_to(own) for own in ours)}


DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def assert_portable(out: Path) -> None:
    """Every path can be copied to any system, and no two of them are one there."""
    seen: dict[str, str] = {}
    for path in out.rglob("*"):
        relative = path.relative_to(out)
        if relative.parts[0] == ".threecad":
            continue
        assert not path.is_symlink()
        assert path.resolve().is_relative_to(out.resolve())
        assert seen.setdefault(unicodedata.normalize("NFKC", str(relative)).casefold(), str(relative)) == str(relative)
        for part in relative.parts:
            assert not re.search(r'[<>:"|?*\\\x00-\x1f\x7f-\x9f]', part)
            assert not part.endswith((".", " "))
            assert not any(unicodedata.category(char)[0] == "C" for char in part)
            assert part == unicodedata.normalize("NFC", part)
            assert len(part.encode()) <= 255
            assert part.split(".")[0].lower() not in DEVICES


def assert_accounted(raw: Path, out: Path) -> dict[str, int]:
    """Every shape of every file is counted once, or its file is a finding. How many shapes each file that was read holds."""
    found = defaultdict(set)
    for finding in read_findings(out / "findings.jsonl"):
        found[finding.source.rpartition(".")[0]].add(finding.code)
    counted: dict[str, dict[str, int]] = {}
    for row in map(json.loads, (out / "sources.jsonl").read_text(encoding="utf-8").splitlines()):
        counted[row["id"].rpartition(".")[0]] = row["shapes"]
    read = {}
    for path in sorted(raw.rglob("*.json")):
        stem = path.relative_to(raw).with_suffix("").as_posix()
        expected = shapes_in(path.read_bytes())
        if found[stem] & UNREADABLE:
            continue
        assert expected is not None, f"{stem}: nobody else can read it, and there is no finding"
        assert sum(counted.get(stem, {}).values()) == expected, stem
        assert stem in counted or Code.FLAG_WITHOUT_SHAPE in found[stem], stem
        read[stem] = expected
    manifest = read_manifest(out)
    for category in manifest.categories.values():
        shapes = category.shapes
        assert shapes.total == shapes.kept + shapes.repaired + shapes.queued + shapes.dropped
    assert sum(category.shapes.total for category in manifest.categories.values()) == sum(read.values())
    return read


def assert_nothing_doubtful_is_good(raw: Path, out: Path) -> None:
    """No tile of an image is good while anything about its annotation is open, and none is used as good that was drawn on."""
    doubtful = {
        finding.source.rpartition(".")[0]
        for finding in read_findings(out / "findings.jsonl")
        if (finding.action is Action.QUEUED and finding.code < "TC300") or finding.code in UNREADABLE
    }
    for row in read_samples(out / "samples.jsonl"):
        stem = row.source.rpartition(".")[0]
        if row.state is State.GOOD:
            assert stem not in doubtful, row.source
            drawn = raw / f"{stem}.json"
            assert row.split is None or not drawn.exists() or shapes_in(drawn.read_bytes()) == 0, row.source


def run_both(raw: Path, place: Path, pipeline: Pipeline = PIPELINE) -> Path:
    """Convert and check; neither may raise, and what they write stays inside their folders."""
    out, findings, fixed = place / "out", place / "findings", place / "fixed"
    before = outside(place, out, findings, fixed)
    convert(raw, out, pipeline)
    done = check(raw, pipeline, out=findings, fixed=fixed, decode=True)
    assert outside(place, out, findings, fixed) == before
    assert_portable(out)
    manifest = read_manifest(out)
    assert sum(row.shapes for row in done.rows) == sum(each.shapes.total for each in manifest.categories.values())
    for path in (findings / "relabel").rglob("*.json"):
        assert isinstance(json.loads(path.read_text(encoding="utf-8"))["shapes"], list)
    assert not convert(raw, out, pipeline).converted
    return out


def assert_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing was printed but what the codecs' own C code complains of."""
    out, err = capfd.readouterr()
    assert out == ""
    assert not [line for line in err.splitlines() if not re.match(r"libpng |LZWDecode: |tempfile\.tif: ", line)]


class TestBrokenAnnotations:
    def laid_out(self, place: Path, texts: Iterator[bytes]) -> Path:
        """Each text beside a photograph of its own."""
        raw = place / "line7"
        pictures = [put(place / "pictures", f"{number}.png", photograph(number)) for number in range(4)]
        for number, text in enumerate(texts):
            folder = raw / f"part{number % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            os.link(pictures[number % 4], folder / f"{number:04d}.png")
            (folder / f"{number:04d}.json").write_bytes(text)
        return raw

    def test_mutants_of_the_examples(self, examples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        bases = [path.read_bytes() for path in sorted(examples.rglob("*.json"))]
        raw = self.laid_out(tmp_path, annotations(bases, 240, seed=1))
        out = run_both(raw, tmp_path)
        read = assert_accounted(raw, out)
        assert_nothing_doubtful_is_good(raw, out)
        assert 60 < len(read) < 220  # some could be read and some could not, else this says little
        assert_quiet(capfd)

    def test_files_that_were_thought_of_beforehand(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        texts = list(crafted())
        assert len(texts) >= 200
        raw = self.laid_out(tmp_path, iter(texts))
        out = run_both(raw, tmp_path)
        assert len(assert_accounted(raw, out)) > len(texts) * 0.8
        assert_nothing_doubtful_is_good(raw, out)
        assert_quiet(capfd)

    @pytest.mark.shared
    def test_mutants_of_real_ones(self, shared: Path, tmp_path: Path) -> None:
        places = ("nuts_labelme/images/*.json", "labelme_examples_min/**/*.json", "bsdata_dev/label/*.json")
        bases = [path.read_bytes() for place in places for path in sorted(shared.glob(place))[:15]]
        bases = [base for base in bases if len(base) < 200_000]
        raw = self.laid_out(tmp_path, annotations(bases, 200, seed=2))
        out = run_both(raw, tmp_path)
        assert 40 < len(assert_accounted(raw, out)) < 190
        assert_nothing_doubtful_is_good(raw, out)


def png(width: int, height: int, depth: int = 8, colour: int = 0, data: bytes = b"", interlace: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def giants() -> Iterator[tuple[str, bytes]]:
    """Small files that state a huge image, a bomb among them, and headers that make no sense."""
    for width, height in ((2**31 - 1, 2**31 - 1), (2**31, 1), (10**5, 10**5), (10**9, 1), (0, 0), (0, 5), (1, 2**32 - 1)):
        yield ".png", png(width, height)
        yield (
            ".bmp",
            b"BM"
            + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *(min(n, 2**31 - 1) for n in (width, height)), 1, 24, *[0] * 6),
        )
        yield (
            ".webp",
            b"RIFF"
            + struct.pack("<I", 30)
            + b"WEBPVP8X"
            + struct.pack("<I", 10)
            + bytes(4)
            + (struct.pack("<I", max(width - 1, 0) % 2**24)[:3] + struct.pack("<I", max(height - 1, 0) % 2**24)[:3]),
        )
        size = struct.pack(">HH", height % 65536, width % 65536)
        yield (
            ".jpg",
            b"\xff\xd8\xff\xc0\x00\x0b\x08" + size + b"\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(40),
        )
        entries = [(256, 4, 1, width % 2**32), (257, 4, 1, height % 2**32), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
        entries += [(273, 4, 1, 8), (278, 4, 1, height % 2**32), (279, 4, 1, 10)]
        body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
        yield ".tif", b"II*\x00" + struct.pack("<I", 8) + body
        yield ".tif", b"II*\x00" + struct.pack("<I", 2**32 - 1) + body
    yield ".png", png(5000, 5000, data=bytes(25_005_000))  # 25 MP of nothing, within the limit
    yield ".png", png(30_000, 30_000, data=bytes(1000))
    for depth, colour in ((1, 0), (16, 2), (7, 0), (8, 9), (8, 3), (255, 255)):
        yield ".png", png(200, 200, depth, colour, bytes(100), interlace=1)
    yield from ((suffix, b"") for suffix in (".png", ".jpg", ".tif", ".bmp", ".webp"))
    yield from ((suffix, b"GIF89a" + bytes(300)) for suffix in (".png", ".jpg", ".tif"))
    yield ".png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield ".png", b"%!PS\n(/etc/passwd) (r) file\n"
    picture = io.BytesIO()
    Image.fromarray(photograph(3)).save(picture, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(60))
    yield ".jpg", picture.getvalue()


class TestBrokenImages:
    def laid_out(self, place: Path, images: Iterator[tuple[str, bytes]]) -> Path:
        raw = place / "line7"
        for number, (suffix, data) in enumerate(images):
            folder = raw / ("good" if number % 4 == 0 else f"part{number % 3}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:04d}{suffix}").write_bytes(data)
            if number % 4:
                file = {"shapes": [square("dent", 30, 30, 40), BOW_TIE], "imagePath": f"{number:04d}{suffix}", "imageData": None}
                (folder / f"{number:04d}.json").write_text(json.dumps(file))
        return raw

    def mutants(self, images: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
        mutants = Mutants(seed)
        for number in range(count):
            path = images[number % len(images)]
            yield path.suffix.lower(), mutants.bytes_of(path.read_bytes())

    def drawn(self, place: Path) -> list[Path]:
        """One small photograph in every format and of every depth."""
        place.mkdir()
        gray, colour = Image.fromarray(photograph(1)), Image.fromarray(photograph(2, colour=True))
        deep = Image.fromarray(photograph(3).astype("uint16") * 257)
        for name, picture, options in (
            ("a.png", gray, {}),
            ("b.png", colour.convert("RGBA"), {}),
            ("c.png", deep, {}),
            ("d.png", colour.convert("P"), {"interlace": 1}),
            ("e.jpg", colour, {"quality": 80, "exif": Image.Exif()}),
            ("f.jpg", gray, {"progressive": True}),
            ("g.bmp", colour, {}),
            ("h.tif", colour, {"compression": "tiff_lzw"}),
            ("i.tif", deep, {}),
            ("j.webp", colour, {"quality": 70}),
            ("k.webp", colour, {"lossless": True}),
        ):
            picture.save(place / name, **options)
        return sorted(place.iterdir())

    def assert_told(self, raw: Path, out: Path) -> int:
        """Every image is either cut into tiles or a finding; how many are not usable."""
        assert_accounted(raw, out)
        assert_nothing_doubtful_is_good(raw, out)
        cut = {row.source for row in read_samples(out / "samples.jsonl")}
        told = {
            finding.source
            for finding in read_findings(out / "findings.jsonl")
            if finding.code in (Code.IMAGE_UNREADABLE, Code.TOO_LARGE, Code.TILE_TOO_SMALL)
        }
        lost = {path.relative_to(raw).as_posix() for path in raw.rglob("*.*") if path.suffix != ".json"} - cut
        assert lost <= told
        return len(lost)

    def test_mutants_of_every_format(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        raw = self.laid_out(tmp_path, self.mutants(self.drawn(tmp_path / "sound"), 220, seed=3))
        assert 40 < self.assert_told(raw, run_both(raw, tmp_path)) < 200
        assert_quiet(capfd)

    def test_giants_bombs_and_nonsense(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        raw = self.laid_out(tmp_path, giants())
        assert self.assert_told(raw, run_both(raw, tmp_path, override(PIPELINE, {"tiling.slice_size": 4096}))) > 30
        assert_quiet(capfd)

    def test_mutants_of_the_examples(self, examples: Path, tmp_path: Path) -> None:
        images = [path for path in sorted(examples.rglob("*.*")) if path.suffix.lower() not in (".json", ".md")]
        raw = self.laid_out(tmp_path, self.mutants(images[::3], 60, seed=4))
        assert 5 < self.assert_told(raw, run_both(raw, tmp_path)) < 60

    @pytest.mark.shared
    def test_mutants_of_real_ones(self, shared: Path, tmp_path: Path) -> None:
        images = sorted(shared.glob("nuts_labelme/images/*.jpg"))[:4] + sorted(shared.glob("magnetic_tile_dev/*/*/*.*g"))[:8]
        raw = self.laid_out(tmp_path, self.mutants(images, 60, seed=5))
        assert 3 < self.assert_told(raw, run_both(raw, tmp_path, override(PIPELINE, {"tiling.slice_size": 512}))) < 60


class TestHostileImagePath:
    """An imagePath is a name to look up among the files of the raw folder; nothing it says is ever opened."""

    PATHS: ClassVar[dict[str, Any]] = {
        "up": "../../secret.png",
        "further up": "../" * 40 + "etc/passwd",
        "absolute": "{place}/secret.png",
        "windows": "C:\\Windows\\win.ini",
        "backslashes": "..\\..\\secret.png",
        "url": "https://example.org/secret.png",
        "file url": "file://{place}/secret.png",
        "endless": "/dev/zero",
        "waiting": "/dev/stdin",
        "descriptor": "/proc/self/fd/0",
        "itself": "itself.json",
        "another annotation": "../up/up.json",
        "nul": "a\0.png",
        "long": "x" * 5000 + ".png",
        "long path": "x/" * 5000 + "a.png",
        "folder": "..",
        "here": ".",
        "empty": "",
        "link": "link.png",
        "linked folder": "elsewhere/secret.png",
        "loop": "loop.png",
        "pipe": "pipe.png",
        "socket": "socket.png",
        "a folder's name": "folder.png",
        "control": "\x1b[2J\n.png",
        "unicode up": "\uff0e\uff0e/\uff0e\uff0e/secret.png",
        "percent": "%2e%2e/%2e%2e/secret.png",
        "home": "~/secret.png",
        "list": ["secret.png"],
        "object": {"path": "secret.png"},
        "number": 7,
    }

    @pytest.fixture
    def raw(self, tmp_path: Path) -> Iterator[Path]:
        put(tmp_path, "secret.png", photograph(200))
        (tmp_path / "private").mkdir()
        put(tmp_path, "private/secret.png", photograph(200))
        raw = tmp_path / "line7"
        put(raw, "sound/a.png", photograph(1), [square("dent", 30, 30, 40)])
        for name, path in self.PATHS.items():
            folder = raw / name
            folder.mkdir()
            written = path.format(place=tmp_path) if isinstance(path, str) else path
            file = {"shapes": [square("dent", 30, 30, 40)], "imagePath": written, "imageHeight": 150, "imageWidth": 220}
            (folder / f"{name.split()[0]}.json").write_text(json.dumps(file))
        (raw / "link/link.png").symlink_to(tmp_path / "secret.png")
        (raw / "linked folder/elsewhere").symlink_to(tmp_path / "private")
        (raw / "loop/loop.png").symlink_to("loop.png")
        (raw / "loop/round").symlink_to(raw)
        (raw / "a folder's name/folder.png").mkdir()
        if hasattr(os, "mkfifo"):
            for pipe in ("pipe/pipe.png", "pipe/also.json", "sound/pipe.bmp"):
                os.mkfifo(raw / pipe)
        with socket.socket(socket.AF_UNIX) as door:
            here = Path.cwd()
            os.chdir(raw / "socket")  # the whole path would be too long for a socket's name
            try:
                door.bind("socket.png")
            finally:
                os.chdir(here)
            yield raw

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs links, pipes and sockets")
    def test_nothing_outside_is_read_and_nothing_waits(self, raw: Path, tmp_path: Path) -> None:
        out = run_both(raw, tmp_path)
        found = defaultdict(set)
        for finding in read_findings(out / "findings.jsonl"):
            found[finding.source.split("/")[0]].add(finding.code)
        for name in self.PATHS:
            assert found[name] & {Code.IMAGE_MISSING, Code.PATH_OUTSIDE}, name
            assert Code.ORPHAN_SHAPE in found[name], name
        for name in ("up", "further up", "absolute", "windows", "backslashes", "url", "file url", "endless", "waiting"):
            assert Code.PATH_OUTSIDE in found[name], name
        assert Code.PATH_OUTSIDE in found["link"]
        assert Code.PATH_OUTSIDE in found["linked folder"]
        assert {row.source for row in read_samples(out / "samples.jsonl")} == {"sound/a.png"}
        shapes = [category.shapes for category in read_manifest(out).categories.values()]
        assert (sum(each.total for each in shapes), sum(each.queued for each in shapes)) == (len(self.PATHS) + 1, len(self.PATHS))

    def test_no_path_of_this_machine_is_told(self, raw: Path, tmp_path: Path) -> None:
        (raw / "absolute/absolute.json").unlink()  # these two hold one themselves
        (raw / "file url/file.json").unlink()
        out = run_both(raw, tmp_path)
        for path in (*out.rglob("*"), *(tmp_path / "findings").rglob("*")):
            assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes()


def test_what_changes_while_it_is_read_is_told_and_tried_again(tmp_path: Path) -> None:
    """Somebody writes into the raw folder during the run: no crash, and the run after it is as if from nothing."""
    raw, out = tmp_path / "line7", tmp_path / "out"
    paths = [put(raw, f"part/a{number}.png", photograph(number), [square("dent", 30, 30, 40)]) for number in range(12)]
    stop = threading.Event()

    def meddle() -> None:
        dice = random.Random(6)
        while not stop.is_set():
            path = dice.choice(paths)
            changes: list[Callable[[], object]] = [
                lambda path=path: path.write_bytes(b"x" * 1000),
                lambda path=path: path.unlink(missing_ok=True),
                lambda path=path: path.with_suffix(".json").write_text("{"),
                lambda path=path: path.with_suffix(".json").unlink(missing_ok=True),
                lambda path=path: put(raw, f"part/{path.name}", photograph(7), [square("dent", 30, 30, 40), BOW_TIE]),
            ]
            dice.choice(changes)()

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        for _ in range(6):
            convert(raw, out, SMALL)
            check(raw, SMALL, out=tmp_path / "findings", decode=True)
    finally:
        stop.set()
        thread.join()
    for number in range(12):
        put(raw, f"part/a{number}.png", photograph(number), [square("dent", 30, 30, 40)])
    convert(raw, out, SMALL)
    convert(raw, tmp_path / "straight", SMALL)
    assert (out / "SHA256SUMS").read_bytes() == (tmp_path / "straight/SHA256SUMS").read_bytes()


def test_a_file_that_grows_while_it_is_read_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as long as it was when it was opened, or is tried again; how long it has become meanwhile costs no memory."""
    path, long = tmp_path / "a.png", 70 << 20
    path.write_bytes(b"x")
    fstat = os.fstat

    def grown(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if status.st_size < long:
            os.truncate(path, long)
        return status

    monkeypatch.setattr(os, "fstat", grown)
    findings: list[Finding] = []
    tracemalloc.start()
    try:
        assert Reader(tmp_path, Reading(max_megapixels=1e-6)).bytes_of("a.png", "a.png", findings) is None
        assert tracemalloc.get_traced_memory()[1] < long / 10
    finally:
        tracemalloc.stop()
    assert [finding.code for finding in findings] == [Code.TOO_LARGE]
