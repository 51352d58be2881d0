"""Folders and files in stores: whatever fsspec speaks with, s3://, gs://, az://, sftp://, hdfs://, https:// among them.

A `Remote` (places.py) answers the few questions that the reading code asks of a `Path`, so that one code reads both. Credentials
are fsspec's own matter (its configuration files and environment variables); nothing here knows, keeps or prints any.

What goes wrong on the way to a store is judged in one place, `asked` (asking.py). All else would look, source by source, like a
flaw of the data, and must not.
"""

from threecad.formats.remote.asking import AT_ONCE, StoreError, asked, hastily
from threecad.formats.remote.listing import Looks, flaw_of
from threecad.formats.remote.places import Place, Remote, is_url, place_of, shown

__all__ = ["AT_ONCE", "Looks", "Place", "Remote", "StoreError", "asked", "flaw_of", "hastily", "is_url", "place_of", "shown"]
