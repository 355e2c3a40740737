"""Where things of the repository are, for tests of whatever folder. Paths of the package are in installation.py."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
SUPPORT = TESTS / "support"
PRELOAD = SUPPORT / "preload"
TABLES = TESTS / "system" / "fault" / "tables"  # of each release
