"""What can go wrong with a request. A flaw in the data is never one of these: it is a `Finding`."""


class ThreecadError(Exception):
    """A request that cannot be carried out; the message names the file, what was found and what was expected."""


class ConfigError(ThreecadError):
    """The pipeline file, a flag or a combination of settings is wrong."""


class ReadError(ThreecadError):
    """A file cannot be read as what it should be."""


class LayoutError(ThreecadError):
    """A folder is not laid out as the request needs it."""


class BusyError(ThreecadError):
    """Another run holds the output folder."""
