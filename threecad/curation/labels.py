"""Labels that were probably meant to be the same."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from itertools import combinations, groupby
from typing import TYPE_CHECKING

from threecad.curation.duplicates import bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WORD = 5  # letters; among shorter words one letter tells words apart (pit, pin) more often than it is a slip
_ALPHABETS = 0x0590  # Latin, Greek, Cyrillic and Armenian lie below; in other scripts a single sign is often a word


def suspicious_spellings(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of labels that differ in spelling only; each group sorted, the groups by their first label.

    Case, white space, punctuation and full or half width do not count, nor does a plural. One slip (a letter too many, too few,
    wrong, or two swapped) does not count inside a word of five letters or more. What tells types apart on purpose does count:
    numbers, single letters, the first and the last letter of a word, and every sign of a script without alphabet.

    >>> suspicious_spellings(["Scratch", "scratches", "scrtach", "dent", "type1", "type2", "type_a", "type_b"])
    [('Scratch', 'scratches', 'scrtach')]
    """
    words = {label: _words(label) for label in labels}
    sharing: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for label in sorted(words):
        for key in _keys(words[label]):
            sharing[key].append(label)
    pairs = {pair for similar in sharing.values() for pair in combinations(similar, 2)}
    return [tuple(sorted(group)) for group in bind(pair for pair in sorted(pairs) if _alike(words[pair[0]], words[pair[1]]))]


def _words(label: str) -> tuple[str, ...]:
    """The runs of letters, of numbers and of signs such as +, in lower case; the label itself where it has none of them.

    >>> _words("Kratzer-Typ_１２+")
    ('kratzer', 'typ', '12', '+')
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    runs = groupby(plain, key=lambda sign: {"L": "L", "M": "L", "N": "N", "S": "S"}.get(unicodedata.category(sign)[0]))
    return tuple("".join(run) for kind, run in runs if kind is not None) or (plain,)


def _keys(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Of two labels that are alike, at least one key is the same; without them every pair would have to be compared."""
    keys = {_joined(words)}
    for number, word in enumerate(words):
        without = {word[:letter] + word[letter + 1 :] for letter in range(1, len(word))} if len(word) >= _WORD else set()
        keys |= {(*words[:number], changed, *words[number + 1 :]) for changed in without | _stems(word)}
    yield from keys


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if _joined(one) == _joined(other):
        return True
    differing = [pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]]
    if len(one) != len(other) or len(differing) != 1:
        return False
    first, second = differing[0]
    if max(map(ord, first + second)) >= _ALPHABETS or not (first.isalpha() and second.isalpha()):
        return False
    return (min(len(first), len(second)) >= 3 and bool(_stems(first) & _stems(second))) or _slip(first, second)


def _slip(one: str, other: str) -> bool:
    """Whether one letter inside the word is missing, wrong, or swapped with the next one.

    >>> [_slip("scratch", word) for word in ("scrach", "scretch", "srcatch", "scartch", "scratcb", "stretch")]
    [True, True, True, True, False, False]
    """
    short, long = sorted((one, other), key=len)
    if len(short) < _WORD or len(long) - len(short) > 1 or short[0] != long[0] or short[-1] != long[-1]:
        return False
    start = next((place for place in range(len(short)) if short[place] != long[place]), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = short[:start] + short[start + 1] + short[start] + short[start + 2 :]
    return long == swapped or short[start + 1 :] == long[start + 1 :]


def _stems(word: str) -> set[str]:
    """The word and what it may be the plural of."""
    stems = {word, word.removesuffix("s"), word.removesuffix("es")}
    return stems | {word.removesuffix("ies") + "y"} if word.endswith("ies") else stems


def _joined(words: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbouring words of letters as one, since a space is soon forgotten; numbers stay apart, since 1.1 is not 11."""
    runs = groupby(enumerate(words), key=lambda item: -1 if item[1][:1].isalpha() else item[0])
    return tuple("".join(word for _, word in run) for _, run in runs)
