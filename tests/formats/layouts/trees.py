"""Small data sets in every layout, each with the faults that people meet: drawn here, never kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from threecad.domain import Defect, Sample, Size, Split, State, Window
from threecad.formats.dataset import MANIFEST, SAMPLES, Category, Manifest, Shapes, Type, line, row_of

HEIGHT, WIDTH = 6, 8


def draw(root: Path, path: str, pixels: Any = 90, **options: Any) -> None:
    """An image or mask of 8 × 6 pixels (width × height): an array, or one value everywhere."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    array = pixels if isinstance(pixels, np.ndarray) else np.full((HEIGHT, WIDTH), pixels, np.uint8)
    Image.fromarray(array).save(root / path, **options)


def photo(root: Path, *paths: str) -> None:
    for path in paths:
        draw(root, path, np.full((HEIGHT, WIDTH, 3), (60, 90, 120), np.uint8))


def spot(value: int = 255, row: int = 2, height: int = HEIGHT) -> Any:
    """A mask of three pixels."""
    mask = np.zeros((height, WIDTH), np.uint8)
    mask[row, 2:5] = value
    return mask


def text(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content, encoding="utf-8")


def mvtec(root: Path) -> None:
    photo(root, "bottle/train/good/000.png", "bottle/train/good/001.PNG", "bottle/train/loose.png")
    photo(root, "bottle/test/good/000.png", "bottle/test/good/001.png", "bottle/validation/good/0.png")
    photo(root, *(f"bottle/test/dent/{name}.png" for name in ("000", "001", "002", "003", "004", "005")))
    photo(root, "bottle/test/dent/older/006.png", "bottle/test/dent+scratch/000.png", "bottle/test/combined/000.png")
    draw(root, "bottle/ground_truth/dent/000_mask.png", spot())
    draw(root, "bottle/ground_truth/dent/001_mask.png", spot(height=7))
    draw(root, "bottle/ground_truth/dent/002_mask.png", 0)
    draw(root, "bottle/ground_truth/dent/003_mask.png", np.maximum(spot(), spot(77, row=3)))
    text(root, "bottle/ground_truth/dent/004_mask.png", "not a picture")
    draw(root, "bottle/ground_truth/dent/017_mask.png", spot())
    draw(root, "bottle/ground_truth/rust/000_mask.png", spot())
    draw(root, "bottle/ground_truth/good/000_mask.png", 0)
    draw(root, "bottle/ground_truth/good/001_mask.png", spot())
    draw(root, "bottle/ground_truth/dent+scratch/000_mask.png", spot())
    draw(root, "bottle/ground_truth/combined/000_mask.png", spot())
    photo(root, "cable/train/good/x.png", "validation/bottle/dent/9.png", "validation/bottle/good/8.png")
    draw(root, "validation/bottle/ground_truth/dent/9_mask.png", spot())
    photo(root, "readme/about.png")
    for name in (".DS_Store", "bottle/train/good/Thumbs.db", "bottle/train/good/._000.png"):
        text(root, name, "")
    (root / "bottle/train/good/stolen.png").symlink_to("/etc/hostname")
    (root / "bottle/test/loop").symlink_to("..")


def btad(root: Path) -> None:
    photo(root, "01/train/ok/0000.bmp", "01/test/ok/0001.bmp", "01/test/ko/0000.bmp", "01/test/ko/0001.bmp")
    draw(root, "01/ground_truth/ko/0000.png", spot())
    photo(root, "02/train/ok/0000.png", "02/test/ko/0000.png")
    draw(root, "02/ground_truth/ko/0000.png", spot())


def threecad_edition(root: Path) -> None:
    """3CAD: masks without suffix in one category, with it in the other."""
    photo(root, "Aluminum_Pc/train/good/000000.png", "Aluminum_Pc/test/aotu/000001.png", "Aluminum_Pc/test/good/000002.png")
    draw(root, "Aluminum_Pc/ground_truth/aotu/000001.png", spot())
    photo(root, "Iron_Stator/train/good/000000.png", "Iron_Stator/test/Scratch/000000.png")
    draw(root, "Iron_Stator/ground_truth/Scratch/000000_mask.png", spot())


def several_masks(root: Path) -> None:
    """A folder of masks for each image, as MVTec LOCO has, and a ground_truth/ a split, as VisA's two-class setups have."""
    photo(root, "a/train/good/0.png", "a/test/logical/0.png", "a/test/logical/1.png")
    draw(root, "a/ground_truth/logical/0/000.png", spot(row=1))
    draw(root, "a/ground_truth/logical/0/001.png", spot(row=4))
    draw(root, "a/ground_truth/logical/7/000.png", spot())
    photo(root, "b/train/good/0.png", "b/train/bad/0.png", "b/test/bad/0.png")
    draw(root, "b/ground_truth/train/bad/0.png", spot(row=1))
    draw(root, "b/ground_truth/test/bad/0.png", spot(row=4))


VISA_ROWS = (
    "object,split,label,image,mask",
    "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,",
    "pcb1,test,normal,pcb1/Data/Images/Normal/0001.JPG,",
    "pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,",
    "pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,",
    "pcb1,train,normal,pcb1/Data/Images/Normal/0404.JPG,",
    "pcb1,train,normal,../../etc/passwd,",
    "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png",
    "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/001.JPG,pcb1/Data/Masks/Anomaly/404.png",
    "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/002.JPG,pcb1/Data/Masks/Anomaly/002.png",
    "screw,test,anomaly,screw/a.JPG,screw/a.png",
)


def visa(root: Path) -> None:
    for name in ("0000", "0001", "0002"):
        photo(root, f"pcb1/Data/Images/Normal/{name}.JPG")
    photo(root, *(f"pcb1/Data/Images/Anomaly/{name}.JPG" for name in ("000", "001", "002")), "screw/a.JPG")
    draw(root, "pcb1/Data/Masks/Anomaly/000.png", np.maximum(spot(2), spot(3, row=4)))
    draw(root, "pcb1/Data/Masks/Anomaly/002.png", spot(9))
    draw(root, "screw/a.png", spot())
    anno = ('pcb1/Data/Images/Anomaly/000.JPG,"melt,scratch",x', "pcb1/Data/Images/Normal/0000.JPG,normal,")
    text(root, "pcb1/image_anno.csv", "\n".join(("image,label,mask", *anno, "")))
    text(root, "split_csv/1cls.csv", "\n".join((*VISA_ROWS, "")))
    text(root, "split_csv/2cls_fewshot.csv", VISA_ROWS[0] + "\n")


def visa_raw(root: Path) -> None:
    visa(root)
    shutil.rmtree(root / "split_csv")
    draw(root, "pcb1/Data/Masks/Anomaly/077.png", spot())


def realiad(root: Path) -> None:
    def sample(kind: str, image: str, mask: str | None = None) -> dict[str, Any]:
        return {"category": "audiojack", "anomaly_class": kind, "image_path": image, "mask_path": mask}

    train = [sample("OK", "OK/S0001/a_C1.jpg"), sample("OK", "OK/S0001/a_C1.jpg"), sample("OK", "../../../etc/a.jpg")]
    test = [
        sample("OK", "OK/S0002/b_C1.jpg"),
        sample("BX", "NG/BX/S0003/c_C1.jpg", "NG/BX/S0003/c_C1.png"),
        sample("BX", "NG/BX/S0003/c_C2.jpg"),
        sample("HS", "NG/HS/S0004/d_C1.jpg", "NG/HS/S0004/d_C1.png"),
        sample("HS", "NG/HS/S0004/e_C1.jpg"),
    ]
    table = {"meta": {"normal_class": "OK", "prefix": "audiojack/"}, "train": train, "test": test}
    text(root, "realiad_jsons/audiojack.json", json.dumps(table))
    text(root, "realiad_jsons_sv/audiojack.json", json.dumps(table | {"train": []}))
    home = "realiad_256/audiojack"
    photo(root, f"{home}/OK/S0001/a_C1.jpg", f"{home}/OK/S0002/b_C1.jpg", f"{home}/OK/S0009/z_C1.jpg")
    photo(root, f"{home}/NG/BX/S0003/c_C1.jpg", f"{home}/NG/BX/S0003/c_C2.jpg", f"{home}/NG/HS/S0004/d_C1.jpg")
    draw(root, f"{home}/NG/BX/S0003/c_C1.png", spot())


def pair(root: Path) -> None:
    photo(root, "images/train/a.jpg", "images/train/b.jpg", "images/test/c.jpg", "images/test/e.jpg", "images/test/f.jpg")
    draw(root, "masks/train/a.png", 0)
    draw(root, "masks/train/b_mask.png", spot())
    draw(root, "masks/test/c.bmp", spot())
    draw(root, "masks/test/d.png", spot())
    draw(root, "masks/test/f.jpg", spot(), quality=30)
    draw(root, "masks/archive/a.png", spot())


def pairs(root: Path) -> None:
    """A pair a category and a split, with folders for types in one of them."""
    photo(root, "bolt/train/images/0.png", "bolt/test/images/0.png", "nut/Images/good/0.png", "nut/Images/crack/0.png")
    draw(root, "bolt/train/masks/0.png", spot())
    draw(root, "bolt/test/masks/0.png", spot())
    draw(root, "nut/Ground_Truth/crack/0.png", spot())


def index(root: Path) -> None:
    photo(root, *(f"images/{name}.jpg" for name in "abcdef"))
    text(root, "classes.txt", "background\nscratch\npit\n")
    draw(root, "masks/a.png", np.maximum(spot(1), spot(2, row=4)))
    palette = Image.fromarray(spot(2), "P")
    palette.putpalette([255, 255, 255, 9, 9, 9, 255, 0, 0] + [0] * 759)
    palette.save(root / "masks/b.png", bits=2)
    draw(root, "masks/c.png", spot(7))
    draw(root, "masks/d.jpg", spot(2))
    draw(root, "masks/e.png", 0)
    bitmap = Image.fromarray(spot(1), "P")
    bitmap.putpalette([0, 0, 0, 200, 0, 0] + [0] * 762)
    bitmap.save(root / "masks/f.bmp")


def beside(root: Path) -> None:
    photo(root, "MT_Free/Imgs/a.jpg", "MT_Free/Imgs/b.jpg", "MT_Crack/Imgs/a.jpg", "MT_Crack/Imgs/c.jpg", "MT_Fray/Imgs/a.jpg")
    draw(root, "MT_Free/Imgs/a.png", 0)
    draw(root, "MT_Free/Imgs/b.png", spot())
    draw(root, "MT_Crack/Imgs/a.png", np.maximum(spot(), spot(12, row=3)))
    draw(root, "MT_Fray/Imgs/a.png", 0)
    draw(root, "MT_Fray/Imgs/a_mask.png", spot())


def marked(root: Path) -> None:
    """As Kolektor's surfaces: a mask's name says that it is one."""
    photo(root, "train/10.png", "train/11.png", "test/20.png")
    draw(root, "train/10_GT.png", 0)
    draw(root, "train/11_GT.png", spot())
    draw(root, "test/20_label.bmp", spot())


def manifest(root: Path) -> None:
    def said(image: str, name: str, mask: str | None = None, *classes: tuple[str, str]) -> dict[str, Any]:
        told: dict[str, Any] = {"source-ref": f"s3://bucket/{image}", "kind": int(name != "normal")}
        told["kind-metadata"] = {"class-name": name, "type": "groundtruth/image-classification"}
        if mask is not None:
            colours = {str(number): {"class-name": each, "hex-color": hue} for number, (each, hue) in enumerate(classes)}
            told["mask-ref"] = f"s3://bucket/{mask}"
            told["mask-ref-metadata"] = {"internal-color-map": colours, "type": "groundtruth/semantic-segmentation"}
        return told

    cracked, white = ("cracked", "#23A436"), ("BACKGROUND", "#ffffff")
    both = (white, cracked, ("torn", "#ff0000"))
    classes = [said("in/a.jpg", "normal"), said("in/b.jpg", "anomaly"), said("in/c.jpg", "anomaly")]
    masked = [
        said("in/a.jpg", "normal", "m/dummy.png", white),
        said("in/b.jpg", "anomaly", "m/b.png", cracked),
        said("in/c.jpg", "anomaly", "m/c.png", *both),
        said("in/d.jpg", "anomaly", "m/d.png", cracked),
        said("in/lost.jpg", "anomaly", "m/lost.png", cracked),
        said("in/b.jpg", "anomaly", "m/b.png", cracked),
    ]
    text(root, "train_class.manifest", "".join(f"{json.dumps(each)}\n" for each in classes))
    text(root, "train_mask.manifest", "\n".join(map(json.dumps, masked)) + "\n\n")
    text(root, "deep/template.manifest", "broken")
    photo(root, *(f"deep/in/{name}.jpg" for name in "abcd"), "deep/other/b.jpg")
    green = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    green[2, 2:5] = 0x23, 0xA4, 0x36, 255
    green[3, 2:5] = 0x23, 0xA4, 0x36, 0
    green[4, 2:5] = 0x23, 0xA4, 0x36, 99
    draw(root, "deep/m/b.png", green)
    colours = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    colours[2, 2:5], colours[4, 2:4], colours[5, 0] = (0x23, 0xA4, 0x36), (255, 0, 0), (1, 2, 3)
    draw(root, "deep/m/c.png", colours)
    draw(root, "deep/m/dummy.png", np.full((16, 16, 3), 255, np.uint8))


def deeppcb(root: Path) -> None:
    home = "PCBData/group20085"
    photo(root, *(f"{home}/20085/20085{number:03}_{kind}.jpg" for number in range(5) for kind in ("temp", "test")))
    photo(root, f"{home}/20085/20085009.jpg")
    text(root, f"{home}/20085_not/20085000.txt", "1 1 4 3 1\n5 2 8 6 6\n")
    text(root, f"{home}/20085_not/20085001.txt", "0,0,2,2,9\n")
    text(root, f"{home}/20085_not/20085002.txt", "0 0 2\n")
    text(root, f"{home}/20085_not/20085003.txt", "0 0 90 2 1\n")
    text(root, f"{home}/20085_not/20085077.txt", "0 0 2 2 1\n")
    text(root, "PCBData/trainval.txt", "group20085/20085/20085000.jpg group20085/20085_not/20085000.txt\n\n")
    text(root, "PCBData/test.txt", "group20085/20085/20085001.jpg x\ngroup20085/20085/20085404.jpg x\n")


def folder(root: Path) -> None:
    photo(root, "banded/a.jpg", "banded/b.jpg", "dotted/test/a.jpg", "loose.png", "dotted/A.jpg", "dotted/a.jpg")
    text(root, "notes.txt", "textures")


def states(root: Path) -> None:
    """Folders that name states, and no masks."""
    photo(root, "OK/a.png", "scratch/a.png", "scratch+dent/a.png")


def threecad(root: Path) -> None:
    size = Size(HEIGHT, WIDTH)
    types = (Type(index=1, name="dent", folder="dent"), Type(index=2, name="tief", folder="tief"))
    counts = Category(folder="part", sources=2, good=1, defective=1, tiles={}, shapes=Shapes(), findings={}, types=types)
    made = Manifest(
        threecad="0.1.0", raw="raw", pipeline={}, categories={"part": counts}, findings={}, digests={}, inputs=1, outputs=1
    )
    text(root, MANIFEST, made.text())

    def sample(name: str, split: Split | None, state: State, labels: tuple[str, ...], *files: str | None) -> Sample:
        image, mask, kinds = files if files else (None, None, None)
        defects = tuple(Defect(f"part/{name}.png#{number}", label, 3, (2, 2, 3, 1), 1.0) for number, label in enumerate(labels))
        window = Window(0, 4, size)
        return Sample(
            name,
            f"part/{name}.png",
            "part",
            window,
            split,
            state,
            labels,
            (3,) * len(labels),
            defects,
            image,
            mask,
            kinds,
            None,
            None,
        )

    good, dent = "part/train/good", "part/test/dent"
    samples = [
        sample("a", Split.TRAIN, State.GOOD, (), f"{good}/a.png", None, None),
        sample("b", Split.TEST, State.DEFECT, ("dent",), f"{dent}/b.png", "part/ground_truth/dent/b_mask.png", "types/b.png"),
        sample(
            "c", Split.TEST, State.DEFECT, ("dent", "tief"), f"{dent}/c.png", "part/ground_truth/dent/c_mask.png", "types/c.png"
        ),
        sample("d", None, State.AMBIGUOUS, ("dent",)),
        sample("e", Split.TEST, State.DEFECT, ("dent",), f"{dent}/lost.png", "part/ground_truth/dent/lost_mask.png", None),
        sample("f", Split.TEST, State.DEFECT, ("dent",), f"{dent}/f.png", "../../etc/passwd", "types/lost.png"),
        sample("g", Split.TRAIN, State.GOOD, (), "/etc/passwd", None, None),
    ]
    text(root, SAMPLES, b"".join(line(row_of(each)) for each in samples).decode())
    photo(root, f"{good}/a.png", f"{dent}/b.png", f"{dent}/c.png", f"{dent}/f.png", f"{good}/foreign.png")
    draw(root, "part/ground_truth/dent/b_mask.png", spot())
    draw(root, "types/b.png", spot(1))
    draw(root, "part/ground_truth/dent/c_mask.png", np.maximum(spot(), spot(row=4)))
    draw(root, "types/c.png", np.maximum(spot(1), spot(2, row=4)[:, ::-1]))


TREES: dict[str, Callable[[Path], None]] = {
    "3cad": threecad_edition,
    "beside": beside,
    "btad": btad,
    "deeppcb": deeppcb,
    "folder": folder,
    "index": index,
    "manifest": manifest,
    "marked": marked,
    "mvtec": mvtec,
    "pair": pair,
    "pairs": pairs,
    "realiad": realiad,
    "several-masks": several_masks,
    "states": states,
    "threecad": threecad,
    "visa": visa,
    "visa-raw": visa_raw,
}
