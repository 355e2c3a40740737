"""`python -m tsfast`: the same as the command `tsfast`."""

import sys

from tsfast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
