"""python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import tsfast

setup(
    name="count_states",
    ext_modules=cythonize(
        [Extension("count_states", ["count_states.pyx"], include_dirs=[tsfast.get_include()])],
        compiler_directives={"language_level": 3},
    ),
)
