"""tsfast: a fast job spooler for one machine."""

__version__ = "0.1.0"
