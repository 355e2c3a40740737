"""python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import tsfast

setup(
    name="submit_points",
    ext_modules=cythonize(
        [Extension("submit_points", ["submit_points.pyx"], include_dirs=[tsfast.get_include()])],
        compiler_directives={"language_level": 3},
    ),
)
