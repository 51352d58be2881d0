"""What changed between two results of `bench.py`, the second over the first, measurement by measurement.

    python tests/bench/compare.py OLD.json NEW.json [--json FILE]

First the ratios of the table, which hold on any machine, then the measurements themselves, which compare only on the same one. A
difference is marked where the medians lie further apart than both spreads together (least to largest round) and than 1 %; a
measurement with one round has no spread that anybody knows, and is never marked. What else differs, machine, versions or
settings, is said first. Exit code 2 where a file holds no results that this program reads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import results
import rows

LEAST = 0.01  # of the first; less is not told apart, however small the spreads


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that both measured. `mark` is "", "better", "worse" or, where neither is better, "differs"."""

    part: str
    what: str
    unit: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    ratio: float | None
    mark: str


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Sentences about what the two runs do not have in common."""
    found = []
    for key, title in (("machine", "machines"), ("versions", "versions")):
        for name in sorted({*first[key], *second[key]}):
            one, other = first[key].get(name), second[key].get(name)
            if one != other:
                found.append(f"The {title} differ: {short(name)} was {short(one)}, is {short(other)}.")
    for name in sorted({*first["parts"]} & {*second["parts"]}):
        one, other = (each["parts"][name]["settings"] for each in (first, second))
        found.extend(
            f"The settings of {short(name)} differ: {short(key)} was {short(one.get(key))}, is {short(other.get(key))}."
            for key in sorted({*one, *other})
            if one.get(key) != other.get(key)
        )
    for each, which in ((first, "first"), (second, "second")):
        only = sorted({*each["parts"]} - {*(second if each is first else first)["parts"]})
        if only:
            found.append(f"Only the {which} measured {', '.join(map(short, only))}.")
        if each["commit"].get("changed"):
            found.append(f"The {which} was measured with changes that its commit does not hold.")
        load, share = (each["quiet"].get(key) for key in ("load", "busy"))
        if said := results.unquiet(*(value if isinstance(value, int | float) else None for value in (load, share))):
            found.append(f"The {which} was not measured on a quiet machine: {said}.")
    return found


def short(value: Any) -> str:
    return results.plain("absent" if value is None else value)[:80]


def differences(first: dict[str, Any], second: dict[str, Any]) -> tuple[list[Difference], list[Difference]]:
    """The table's ratios and the plain measurements that both hold."""
    both = [name for name in first["parts"] if name in second["parts"]]
    ratios = []
    for row in rows.ROWS:
        if row.part in both and row.under is not None:
            one, other = (rows.values(row, each["parts"][row.part]) for each in (first, second))
            if one and other:
                better = "more" if row.at_least or row.limit is None else "less"
                ratios.append(difference(row.part, rows.titled(row, second["parts"][row.part]), row.unit, better, one, other))
    plain = []
    for name in both:
        one_part, other_part = (each["parts"][name]["measurements"] for each in (first, second))
        for what, one in one_part.items():
            other = other_part.get(what)
            if other is not None and (one["unit"], one["better"]) == (other["unit"], other["better"]):
                plain.append(difference(name, what, one["unit"], one["better"], tuple(one["rounds"]), tuple(other["rounds"])))
    return ratios, plain


def difference(part: str, what: str, unit: str, better: str, first: tuple[float, ...], second: tuple[float, ...]) -> Difference:
    one, other = statistics.median(first), statistics.median(second)
    spread = (max(first) - min(first)) + (max(second) - min(second))
    apart = abs(other - one)
    mark = ""
    if min(len(first), len(second)) > 1 and apart > max(spread, LEAST * abs(one)):
        mark = "differs" if better == "same" else "better" if (other > one) == (better == "more") else "worse"
    return Difference(part, what, unit, first, second, other / one if one else None, mark)


def table(found: list[Difference]) -> list[str]:
    cells = [["part", "what", "unit", "first", "second", "second / first", ""]]
    for each in found:
        ratio = "" if each.ratio is None else f"{each.ratio:.3f}"
        words = [short(each.part), short(each.what), short(each.unit)]
        cells.append([*words, spread(each.first), spread(each.second), ratio, each.mark])
    return rows.columns(cells)


def spread(rounds: tuple[float, ...]) -> str:
    middle = rows.number(statistics.median(rounds))
    return f"{middle} ({rows.number(min(rounds))} to {rows.number(max(rounds))})" if len(rounds) > 1 else f"{middle} (one round)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="OLD.json")
    parser.add_argument("second", type=Path, metavar="NEW.json")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison there too")
    chosen = parser.parse_args()
    try:
        first, second = results.read(chosen.first), results.read(chosen.second)
    except results.Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    notes = differing(first, second)
    ratios, plain = differences(first, second)
    print(f"{short(first['commit'].get('id'))} → {short(second['commit'].get('id'))}")
    for line in notes:
        print(line)
    for title, found in (("Ratios of the table", ratios), ("Measurements", plain)):
        print(f"\n{title}\n" + ("\n".join(table(found)) if found else "Both hold none in common."))
    marked = [each for each in (*ratios, *plain) if each.mark]
    alone = sum(min(len(each.first), len(each.second)) == 1 for each in (*ratios, *plain))
    print(f"\n{len(marked)} of {len(ratios) + len(plain)} differ by more than the spread of both", end="")
    print(f"; {alone} have one round, so that nobody knows." if alone else ".")
    if chosen.json:
        text = {"notes": notes, "ratios": [asdict(each) for each in ratios], "measurements": [asdict(each) for each in plain]}
        try:
            results.write(chosen.json, text)
        except OSError as error:
            print(f"{short(chosen.json.name)}: cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
