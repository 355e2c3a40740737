"""An installation whose `pynvml` is another one than that of nvidia-ml-py: as where an old package hides it."""

import os
import shutil
import site
import sys
from pathlib import Path

import pynvml

import tsfast
from support.installation import BIN

# A module that does as the real one does, with changes behind it.
REAL = Path(pynvml.__file__).read_text()


class Installation:
    """Another environment of Python: it finds its own pynvml before everything of the one that runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self.binding = packages / "pynvml"
        self.programs.mkdir(parents=True)
        self.binding.mkdir(parents=True)
        home = os.path.dirname(os.path.realpath(sys.executable))
        (folder / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
        self.python = self.programs / "python3"
        self.python.symlink_to(os.path.realpath(sys.executable))
        others = [str(Path(tsfast.__file__).parents[1]), *site.getsitepackages()]
        (packages / "others.pth").write_text("\n".join(others) + "\n")
        script = f"#!{self.python}\nimport sys\nfrom tsfast.cli.main import main\nsys.exit(main())\n"
        (self.programs / "tsfast").write_text(script)
        (self.programs / "tsfast").chmod(0o755)
        self.ts = Path(shutil.copy2(BIN / "ts", self.programs / "ts"))

    def bind(self, source: str) -> None:
        """Make this the text of pynvml/__init__.py, as the old package has one."""
        (self.binding / "__init__.py").write_text(source)
        shutil.rmtree(self.binding / "__pycache__", ignore_errors=True)

    def mend(self) -> None:
        """Remove it: then the real one is found."""
        shutil.rmtree(self.binding)
