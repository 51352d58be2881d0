import string
import time

import pytest

from threecad.curation.labels import suspicious_spellings

ALIKE = [
    ("Scratch", "scratch"),
    ("scratch ", "scratch"),
    ("surface scratch", "surface_scratch"),
    ("surfacescratch", "Surface-Scratch"),
    ("ｓｃｒａｔｃｈ", "scratch"),
    ("type１", "type1"),
    ("type 1", "TYPE_1"),
    ("scratch", "scratches"),
    ("dent", "dents"),
    ("pit", "pits"),
    ("cavity", "cavities"),
    ("big hole", "big holes"),
    ("scratch", "scrach"),
    ("scratch", "scrratch"),
    ("scratch", "scretch"),
    ("scratch", "scartch"),
    ("Kratzer", "Krätzer"),
    ("царапина", "царпина"),
    ("zhen kong", "zhenkong"),
    ("划痕", "划痕 "),
    ("__ignore__", "ignore"),
    ("deep scratch 2", "deep scrach 2"),
    ("scrachh", "scrachhh"),
]
DIFFERENT = [
    ("type1", "type2"),
    ("type 1", "type 11"),
    ("type 1.1", "type 11"),
    ("scratch 1", "scrach 2"),
    ("type_a", "type_b"),
    ("typea", "typeb"),
    ("class A", "class"),
    ("C", "C+"),
    ("pit", "pin"),
    ("dent", "dint"),
    ("inside", "onside"),
    ("left scratch", "deep scratch"),
    ("表面左侧划痕", "表面右侧划痕"),
    ("划痕", "擦伤"),
    ("scratch", "dent"),
    ("scratch", "stretch"),
    ("weld gap", "weld tap"),
    ("os", "o"),
    ("!!", "??"),
    ("", " "),
    ("กา", "กี"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_labels_that_differ_in_spelling_only_are_found(one, other):
    assert suspicious_spellings([one, other]) == [tuple(sorted((one, other)))]
    assert suspicious_spellings({other, one, "zebra", "quite another 7"}) == [tuple(sorted((one, other)))]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_labels_that_differ_on_purpose_are_left_alone(one, other):
    assert suspicious_spellings([one, other]) == []


def test_spellings_are_grouped_and_sorted():
    labels = ["dents", "scrach", "Scratch", "pore", "dent", "scratches", "Dent"]
    assert suspicious_spellings(labels) == [("Dent", "dent", "dents"), ("Scratch", "scrach", "scratches")]
    assert suspicious_spellings(reversed(labels)) == suspicious_spellings(labels)
    assert suspicious_spellings(["dent", "dent"]) == []


def test_thousands_of_labels_are_no_trouble():
    labels = [f"defect {a}{b}{c}" for a in string.ascii_lowercase for b in string.ascii_lowercase for c in "0123456789"]
    start = time.perf_counter()
    assert suspicious_spellings([*labels, "defekt ab3"]) == [("defect ab3", "defekt ab3")]
    assert time.perf_counter() - start < 60
