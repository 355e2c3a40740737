"""tsfast: a fast job spooler for one machine."""

__version__ = "0.1.0"


def get_include() -> str:
    """The directory to compile with (-I): for `#include "tsfast/native/table.h"`, and for what cimports from tsfast."""
    import os

    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
