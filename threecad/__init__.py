"""Industrial inspection data sets: from labelled photographs to validated masks, tiles and leak-free splits."""

__version__ = "0.1.0"
