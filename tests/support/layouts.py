"""The structures and constants of native/*.h, read from the headers that are installed: `layouts.tsf_run` is a
ctypes.Structure, `layouts.TSF_RUNS` a number. A compiler says what each constant is, and whether each field lies where
ctypes has it. `lib` has the checksums."""

import ctypes
import functools
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from support import compiled
from support.installation import NATIVE

HEADERS = ("table.h", "runs.h", "wire.h", "gpus.h", "journal.h")
INTEGERS = {
    f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
}
BASIC = {**INTEGERS, "char": ctypes.c_char, "int": ctypes.c_int}
TOKEN = re.compile(r"\w+|<<|\S")
# What a macro must look like to be a constant: no text, no code.
NUMBER = re.compile(r"[\w\s()+*/<|-]*\d[\w\s()+*/<|-]*|\(.*sizeof.*\)")

SOURCE = """
uint32_t check32(const void *p, size_t n, uint64_t seed) { return tsf_check32(p, n, seed); }
uint64_t hash64(const void *p, size_t n, uint64_t seed) { return tsf_hash64(p, n, seed); }
uint64_t run_check(const struct tsf_run *run) { return tsf_run_check(run); }
uint32_t hot_check(const struct tsf_hot *hot, uint64_t id) { return tsf_hot_check(hot, id); }
uint32_t cold_check(const struct tsf_cold *cold, uint64_t id) { return tsf_cold_check(cold, id); }
uint32_t extra_check(const void *extra, uint64_t id) { return tsf_extra_check(extra, id); }
uint32_t course_check(const void *course, uint32_t words, uint64_t id) { return tsf_course_check(course, words, id); }
int course_newest(const void *extra, uint64_t id) { return tsf_course_newest(extra, id); }
int extra_fits(const void *extra, const struct tsf_cold *cold, uint64_t id) { return tsf_extra_fits(extra, cold, id); }
"""


def _preprocessed(*flags: str) -> str:
    text = "".join(f'#include "{name}"\n' for name in HEADERS)
    command = ["cc", "-E", *flags, f"-I{NATIVE}", "-xc", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _number(text: str) -> int:
    """Of an array's length."""
    return int(eval(re.sub(r"(?<=\d)[uUlL]+\b", "", text), {}))


class _Declarations:
    """The fields of one structure."""

    def __init__(self, text: str, known: dict[str, type]) -> None:
        self.tokens, self.known, self.unnamed = TOKEN.findall(text), known, 0

    def next(self) -> str:
        return self.tokens.pop(0)

    def body(self, base: type, name: str) -> type:
        """A structure or union, from behind its opening brace to its closing one."""
        fields: list[tuple[str, Any]] = []
        anonymous: list[str] = []
        while self.tokens[0] != "}":
            kind = self.kind()
            if self.tokens[0] == ";":
                anonymous.append(f"_{self.unnamed}")
                fields.append((anonymous[-1], kind))
                self.unnamed += 1
            else:
                fields += self.names(kind)
            assert self.next() == ";", f"{name}: not understood before {self.tokens[:5]}"
        self.next()
        return type(name, (base,), {"_anonymous_": anonymous, "_fields_": fields})

    def kind(self) -> type:
        word = self.next()
        if word in ("struct", "union"):
            if self.tokens[0] != "{":
                return self.known[self.next()]
            self.next()
            return self.body(ctypes.Structure if word == "struct" else ctypes.Union, "unnamed")
        return BASIC[word]

    def names(self, kind: type) -> Iterator[tuple[str, Any]]:
        while True:
            name, lengths = self.next(), []
            while self.tokens[0] == "[":
                self.next()
                words = []
                while (word := self.next()) != "]":
                    words.append(word)
                lengths.append(_number(" ".join(words)))
            yield name, functools.reduce(lambda of, length: of * length, reversed(lengths), kind)
            if self.tokens[0] != ",":
                return
            self.next()


def _structures() -> dict[str, type]:
    found: dict[str, type] = {}
    text = _preprocessed("-P")
    for match in re.finditer(r"^struct (tsf_\w+) \{(.*?)^\};", text, re.DOTALL | re.MULTILINE):
        found[match[1]] = _Declarations(match[2] + "}", found).body(ctypes.Structure, match[1])
    return found


def _constants() -> list[str]:
    macros = re.findall(r"^#define (TSF_\w+) (.+)$", _preprocessed("-dM"), re.MULTILINE)
    names = [name for name, value in macros if NUMBER.fullmatch(value)]
    for body in re.findall(r"\benum tsf_\w+ \{(.*?)\}", _preprocessed("-P"), re.DOTALL):
        names += re.findall(r"\b(TSF_\w+)(?=\s*(?:=|,|$))", body)
    return names


def _fields(kind: Any) -> Iterator[tuple[str, Any]]:
    """Also those of what has no name, as C and ctypes reach them."""
    for name, of in kind._fields_:
        if name in kind._anonymous_:
            yield from _fields(of)
        else:
            yield name, of


@functools.cache
def _compiled() -> tuple[dict[str, Any], ctypes.CDLL]:
    structures, constants = _structures(), _constants()
    facts = [(name, name) for name in constants]
    for name, kind in structures.items():
        facts.append((f"sizeof {name}", f"sizeof(struct {name})"))
        for field, _ in _fields(kind):
            facts.append((f"{name}.{field}", f"offsetof(struct {name}, {field})"))
            facts.append((f"sizeof {name}.{field}", f"sizeof(((struct {name} *)0)->{field})"))
    text = "".join(f'#include "{name}"\n' for name in HEADERS) + "#include <stddef.h>\n" + SOURCE
    text += "const long long facts[] = {" + ", ".join(f"(long long)({value})" for _, value in facts) + "};\n"
    library = compiled.folder() / "layouts.so"
    command = ["cc", "-shared", "-fPIC", "-O1", f"-I{NATIVE}", "-xc", "-", "-o", library]
    subprocess.run(command, input=text, text=True, check=True)
    lib = ctypes.CDLL(str(library))
    values = dict(zip((name for name, _ in facts), (ctypes.c_longlong * len(facts)).in_dll(lib, "facts"), strict=True))
    for name, kind in structures.items():
        assert ctypes.sizeof(kind) == values[f"sizeof {name}"], name
        for field, _ in _fields(kind):
            place = getattr(kind, field)
            assert place.offset == values[f"{name}.{field}"], f"{name}.{field}"
            assert place.size == values[f"sizeof {name}.{field}"], f"{name}.{field}"
    lib.check32.argtypes = lib.hash64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    lib.run_check.argtypes = [ctypes.POINTER(structures["tsf_run"])]
    lib.hot_check.argtypes = [ctypes.POINTER(structures["tsf_hot"]), ctypes.c_uint64]
    lib.cold_check.argtypes = [ctypes.POINTER(structures["tsf_cold"]), ctypes.c_uint64]
    lib.extra_check.argtypes = lib.course_newest.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
    lib.course_check.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint64]
    lib.extra_fits.argtypes = [ctypes.c_char_p, ctypes.POINTER(structures["tsf_cold"]), ctypes.c_uint64]
    lib.extra_check.restype = lib.course_check.restype = ctypes.c_uint32
    lib.check32.restype = lib.hot_check.restype = lib.cold_check.restype = ctypes.c_uint32
    lib.hash64.restype = lib.run_check.restype = ctypes.c_uint64
    return {**structures, **{name: values[name] for name in constants}}, lib


def __getattr__(name: str) -> Any:
    if name == "lib":
        return _compiled()[1]
    if name.startswith(("tsf_", "TSF_")):
        try:
            return _compiled()[0][name]
        except KeyError:
            pass
    raise AttributeError(name)
