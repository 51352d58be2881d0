"""See README.md: `python tests/fuzz/fuzz_names.py [-max_total_time=60] CORPUS/`."""

from driver import fuzz

if __name__ == "__main__":
    fuzz("names")
