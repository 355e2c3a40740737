# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See encoder.pxd."""
import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.stdint cimport UINT64_MAX, uint32_t
from libc.stdlib cimport free, realloc, strtoul
from libc.string cimport memchr, memcmp, memcpy, memset, strlen, strstr

from tsfast.grammar.options cimport ACTION_SUBMIT, PLACE_BIT, Command, command_free, parse
from tsfast.layout.table cimport TSF_JOB_FOREGROUND
from tsfast.layout.wire cimport (
    TSF_BATCH_NO_BLOCK, TSF_FRAME_ADDED, TSF_FRAME_ALIVE, TSF_FRAME_BATCH, TSF_FRAME_ERR, TSF_FRAME_EVENTS,
    TSF_FRAME_EXEC, TSF_FRAME_EXIT, TSF_FRAME_EXIT_AT_CLOSE, TSF_FRAME_GIVE_WAY, TSF_FRAME_MAX, TSF_FRAME_OUT,
    TSF_FRAME_REFUSED, TSF_FRAME_REQUEST, TSF_FRAME_WATCH, TSF_HEARS_ALIVE, TSF_WIRE_VERSION, TSF_WIRE_VERSION1,
    tsf_batch, tsf_batch_job, tsf_batch_part, tsf_frame, tsf_release, tsf_request,
)
from tsfast.base.limits cimport BATCH_BYTES, BATCH_JOBS
from tsfast.base.system cimport ENOENT, O_CLOEXEC, O_RDONLY, close, errno, open_, read, ssize_t

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_getpriority, SYS_prlimit64, SYS_sched_getaffinity

cdef extern from "<unistd.h>" nogil:
    char **environ
    long syscall(long number, ...)


# Of native/wire.h, for Python: the frames that a program sends and receives.
WIRE_VERSION = <uint32_t> TSF_WIRE_VERSION
FIRST_WIRE_VERSION = <uint32_t> TSF_WIRE_VERSION1
FRAME_MAX = <uint32_t> TSF_FRAME_MAX
REQUEST, WATCH = TSF_FRAME_REQUEST, TSF_FRAME_WATCH
OUT, ERR, EXIT, EXIT_AT_CLOSE = TSF_FRAME_OUT, TSF_FRAME_ERR, TSF_FRAME_EXIT, TSF_FRAME_EXIT_AT_CLOSE
EXEC, GIVE_WAY, ADDED, REFUSED = TSF_FRAME_EXEC, TSF_FRAME_GIVE_WAY, TSF_FRAME_ADDED, TSF_FRAME_REFUSED
EVENTS, ALIVE = TSF_FRAME_EVENTS, TSF_FRAME_ALIVE


class EncodeError(ValueError):
    """A job that cannot be queued. `place`: its place in the batch, from 0; `reason`: why, in one line."""

    def __init__(self, place: int, reason: str):
        super().__init__(f"job {place} of the batch: {reason}")
        self.place = place
        self.reason = reason


cdef str shown(const char *text):
    return (<bytes> text).decode(errors="replace")


@cython.final
cdef class Encoder:
    def __dealloc__(self):
        free(self.data)
        free(self.parts)
        free(<void *> self.words)

    # ---- one job -----------------------------------------------------------------------------------------------
    cdef int _fail(self, const char *text) noexcept nogil:
        snprintf(self.error, sizeof(self.error), b"%s", text)
        return -1

    cdef int _reserve(self, size_t more) noexcept nogil:
        cdef size_t room
        cdef char *grown
        if self.size + more <= self.room:
            return 0
        room = max(2 * self.room, max(self.size + more, <size_t> 65536))
        grown = <char *> realloc(self.data, room)
        if grown == NULL:
            return self._fail(b"out of memory")
        self.data = grown
        self.room = room
        return 0

    cdef int begin_job(self) noexcept nogil:
        cdef Part *part = NULL
        cdef Part *grown
        cdef size_t room
        if self.n_parts:
            part = &self.parts[self.n_parts - 1]
        if part == NULL or part.count >= <uint32_t> BATCH_JOBS or self.size - part.begin >= <size_t> BATCH_BYTES:
            if self.n_parts == self.parts_room:
                room = 2 * self.parts_room + 16
                grown = <Part *> realloc(self.parts, room * sizeof(Part))
                if grown == NULL:
                    return self._fail(b"out of memory")
                self.parts = grown
                self.parts_room = room
            part = &self.parts[self.n_parts]
            part.begin = self.size
            part.place = self.count
            part.count = 0
            part.looks_back = False
            self.n_parts += 1
        if self._reserve(sizeof(tsf_batch_job)) < 0:
            return -1
        self.size += sizeof(tsf_batch_job)
        return 0

    cdef int put(self, const char *text, size_t size) noexcept nogil:
        if self._reserve(size + 1) < 0:
            return -1
        if size:
            memcpy(self.data + self.size, text, size)
        self.size += size
        return 0

    cdef int end_job(self, uint32_t argc, size_t argv_len, uint32_t cwd_len, uint32_t env_count,
                     size_t env_len) noexcept nogil:
        cdef size_t size = argv_len + cwd_len + env_len
        cdef size_t begin = self.size - size - sizeof(tsf_batch_job)
        cdef Part *part = &self.parts[self.n_parts - 1]
        cdef tsf_batch_job head
        cdef const char *argv = self.data + begin + sizeof(head)
        cdef int done = 0
        if size > <size_t> TSF_FRAME_MAX // 2:
            done = self._fail(b"the command and its variables are too long (more than 4 MiB)")
        elif argc == 0:
            done = self._fail(b"it has no command")
        elif argv[0] == c'-':
            done = self._check(argv, argc, part)
        if done < 0:
            self.size = begin
            return -1
        head.argc = argc
        head.argv_len = <uint32_t> argv_len
        head.cwd_len = cwd_len
        head.env_count = env_count
        head.env_len = <uint32_t> env_len
        memcpy(self.data + begin, &head, sizeof(head))
        part.count += 1
        self.count += 1
        self.needs_directory = self.needs_directory or cwd_len == 0
        return 0

    cdef int _check(self, const char *argv, uint32_t argc, Part *part) noexcept nogil:
        """Parses words that begin with options."""
        cdef Command command
        cdef const char **grown
        cdef uint64_t id
        cdef size_t i
        cdef int done = 0
        if argc + 1 > self.words_room:
            grown = <const char **> realloc(<void *> self.words, 2 * (<size_t> argc + 1) * sizeof(char *))
            if grown == NULL:
                return self._fail(b"out of memory")
            self.words = grown
            self.words_room = 2 * (<size_t> argc + 1)
        for i in range(argc):
            self.words[i] = argv
            argv += strlen(argv) + 1
        self.words[argc] = NULL
        if parse(self.words, <int> argc, &command) < 0:
            return self._fail(command.error)
        if command.action != ACTION_SUBMIT or command.flags & TSF_JOB_FOREGROUND or command.no_block:
            done = self._fail(b"a batch accepts commands to queue, without -f and -B")
        for i in range(command.n_after + command.n_after_ok):
            id = command.after[i] if i < command.n_after else command.after_ok[i - command.n_after]
            if id >> PLACE_BIT == 0:
                if id >= self.highest:
                    self.highest = id + 1
                    self.highest_place = self.count
                continue
            id &= ~(<uint64_t> 1 << PLACE_BIT)
            if id >= self.count:
                snprintf(self.error, sizeof(self.error), b"'@%llu' must name an earlier job of the batch",
                         <unsigned long long> id)
                done = -1
            part.looks_back = part.looks_back or id < part.place
        command_free(&command)
        return done

    # ---- from Python objects -----------------------------------------------------------------------------------
    cdef size_t _put_word(self, object word, object what) except 0:
        """The bytes of a word, with a NUL."""
        cdef const char *text = NULL
        cdef Py_ssize_t size = 0
        if type(word) is not str and type(word) is not bytes:
            if isinstance(word, (str, bytes)):
                word = str(word) if isinstance(word, str) else bytes(word)
            elif isinstance(word, os.PathLike):
                word = os.fspath(word)
            else:
                raise TypeError(f"{what} is {type(word).__name__}, not str, bytes or a path: {word!r}")
        if type(word) is str:
            try:
                text = PyUnicode_AsUTF8AndSize(word, &size)
            except UnicodeEncodeError:
                word = os.fsencode(word)
        if text == NULL:
            text = PyBytes_AS_STRING(word)
            size = PyBytes_GET_SIZE(word)
        if memchr(text, 0, <size_t> size) != NULL:
            raise ValueError(f"{what} contains a NUL byte: {word[:60]!r}")
        if self.put(text, <size_t> size) < 0:
            raise MemoryError
        self.data[self.size] = 0                # put() has room for it
        self.size += 1
        return <size_t> size + 1

    cdef _add(self, object words, bint command, object cwd, object env):
        """command: the words have no options of ts before the command."""
        cdef size_t before = self.size, argv_len = 0, env_len = 0
        cdef uint32_t argc = 0, cwd_len = 0, env_count = 0
        cdef bint whole = False
        if isinstance(words, (str, bytes)):
            raise TypeError(f"a command is a list of words, not {type(words).__name__} (see shlex.split): {words!r}")
        if self.begin_job() < 0:
            raise MemoryError
        before = self.size - sizeof(tsf_batch_job)
        try:
            for word in words:
                if argc == 0 and command:
                    if isinstance(word, os.PathLike):
                        word = os.fspath(word)
                    if isinstance(word, (str, bytes)) and word[:1] in ("-", b"-"):
                        argv_len += self._put_word("--", None)
                        argc += 1
                argv_len += self._put_word(word, "a word of the command")
                argc += 1
            if cwd is not None:
                cwd_len = <uint32_t> self._put_word(cwd, "cwd")
                if self.data[self.size - cwd_len] != c'/':
                    raise ValueError(f"cwd is not an absolute path: {cwd!r}")
            if env is not None:
                for change in env:
                    env_len += self._put_word(change, "a variable")
                    env_count += 1
            whole = True
        finally:
            if not whole:
                self.size = before
        if self.end_job(argc, argv_len, cwd_len, env_count, env_len) < 0:
            raise ValueError(shown(self.error))

    def add(self, words, cwd=None, env=None):
        """Adds one job, as the words of a command line of ts. cwd: an absolute path; env: `NAME=VALUE` and `NAME` (to
        be unset). Raises TypeError, ValueError; then the job is not in the batch."""
        self._add(words, False, cwd, env)

    def extend(self, jobs, spec):
        """Adds all of an iterable: a list or tuple is a command; from anything else `spec(job)` makes (words, cwd, env)
        for add(). Raises EncodeError, and what the iterable and `spec` raise; the jobs before are in the batch."""
        for job in jobs:
            try:
                if type(job) is list or type(job) is tuple:
                    self._add(job, True, None, None)
                else:
                    words, cwd, env = spec(job)
                    self._add(words, False, cwd, env)
            except (TypeError, ValueError) as error:
                raise EncodeError(self.count, str(error)) from error

    # ---- from a file -------------------------------------------------------------------------------------------
    def lines(self, bytes text not None, spec, options=()):
        """Adds one job per line: the words that you would type after `ts`, with the shell's quotes; or, if the line
        begins with `{`, what `spec(line)` makes of it: (words, cwd, env). Ignores empty lines and those that begin with
        `#`. Lines end with LF or CR LF, the last one also without; a UTF-8 byte order mark before a line is ignored.
        options: words that precede those of each line. Raises EncodeError; its place is the line, from 1."""
        cdef const char *start = PyBytes_AS_STRING(text)
        cdef const char *end = start + PyBytes_GET_SIZE(text)
        cdef const char *line = start
        cdef const char *next_line
        cdef const char *last
        cdef size_t before, length
        cdef uint32_t argc = 0, head_words = 0
        cdef uint64_t number = 0
        cdef bytes head = b"".join([word + b"\0" for word in options])
        cdef const char *head_text = PyBytes_AS_STRING(head)
        cdef size_t head_size = <size_t> PyBytes_GET_SIZE(head)
        cdef int done
        head_words = <uint32_t> len(options)
        while line < end:
            next_line = <const char *> memchr(line, c'\n', <size_t> (end - line))
            last = end if next_line == NULL else next_line
            number += 1
            if number == 1 and last - line >= 2 and (memcmp(line, b"\xff\xfe", 2) == 0
                                                     or memcmp(line, b"\xfe\xff", 2) == 0):
                raise EncodeError(number, "this is UTF-16: save the file as UTF-8")
            if last - line >= 3 and memcmp(line, b"\xef\xbb\xbf", 3) == 0:
                line += 3
            while line < last and (line[0] == c' ' or line[0] == c'\t'):
                line += 1
            while last > line and (last - 1)[0] == c'\r':
                last -= 1
            length = <size_t> (last - line)
            if length and line[0] == c'{':
                try:
                    words, cwd, env = spec(line[:length])
                    self._add([*options, *words], False, cwd, env)
                except (TypeError, ValueError) as error:
                    raise EncodeError(number, str(error)) from error
            elif length and line[0] != c'#':
                with nogil:
                    done = self.begin_job()
                    before = self.size
                    if done == 0:
                        done = self.put(head_text, head_size)
                    if done == 0:
                        done = self._line(line, length, &argc)
                    if done == 0:
                        done = self.end_job(argc + head_words, self.size - before, 0, 0, 0)
                    else:
                        self.size = before - sizeof(tsf_batch_job)
                if done < 0:
                    raise EncodeError(number, shown(self.error))
            line = end if next_line == NULL else next_line + 1

    cdef int _line(self, const char *line, size_t size, uint32_t *argc) noexcept nogil:
        """The words of a line, into the job. Quotes as in sh; its operators and expansions by $ and ` are refused."""
        cdef const char *end = line + size
        cdef char quote = 0
        cdef bint inside = False
        cdef char c
        argc[0] = 0
        if self._reserve(size + 2) < 0:
            return -1
        while line < end:
            c = line[0]
            line += 1
            if c == 0:
                return self._fail(b"it contains a NUL byte")
            if quote == c'\'':
                if c == c'\'':
                    quote = 0
                    continue
            elif c == c'\\':
                if line == end:
                    return self._fail(b"it ends with a backslash")
                if quote and line[0] != c'"' and line[0] != c'\\' and line[0] != c'$' and line[0] != c'`':
                    self.data[self.size] = c
                    self.size += 1
                    continue
                c = line[0]
                line += 1
                inside = True
            elif c == c'$' or c == c'`':
                return self._fail(b"no shell expands it: write sh -c '...', or quote the $ and ` in it")
            elif quote:
                if c == c'"':
                    quote = 0
                    continue
            elif c == c'\'' or c == c'"':
                quote = c
                inside = True
                continue
            elif c == c' ' or c == c'\t':
                if inside:
                    self.data[self.size] = 0
                    self.size += 1
                    argc[0] += 1
                inside = False
                continue
            elif c == c'\r':
                return self._fail(b"it contains a carriage return: lines end with LF or CR LF")
            elif c == c'|' or c == c'&' or c == c';' or c == c'<' or c == c'>' or c == c'(' or c == c')':
                return self._fail(b"no shell reads it: write sh -c '...', or quote the | & ; < > ( ) in it")
            inside = True
            self.data[self.size] = c
            self.size += 1
        if quote:
            return self._fail(b"a quote is not closed")
        if inside:
            self.data[self.size] = 0
            self.size += 1
            argc[0] += 1
        return 0

    # ---- frames ------------------------------------------------------------------------------------------------
    def __len__(self):
        return self.count

    @property
    def frames(self) -> int:
        """The number of frames to send."""
        return self.n_parts - (self.n_parts > 0 and self.parts[self.n_parts - 1].count == 0)

    @property
    def refers_to(self):
        """The greatest id outside the batch that one of its jobs depends on, and the place of that job; or None."""
        return (self.highest - 1, self.highest_place) if self.highest else None

    def looks_back(self, size_t number) -> bool:
        """Whether a job of this frame depends on one of an earlier frame, so that those must be acknowledged first."""
        return number < self.n_parts and self.parts[number].looks_back

    def places(self, size_t number) -> tuple[int, int]:
        """The place of a frame's first job in the batch, and its number of jobs. Raises IndexError."""
        if number >= self.n_parts:
            raise IndexError(number)
        return self.parts[number].place, self.parts[number].count

    def frame(self, size_t number, bytes caller not None, bytes token not None, list earlier not None, bint no_block,
              bytes version not None) -> bytes:
        """A frame, header and all. caller: what caller() returned; token: 16 random bytes; earlier: (place, first id)
        of the frames before it, if it looks back; version: of this program. Raises IndexError, ValueError if it is
        too long."""
        cdef tsf_frame head
        cdef tsf_batch batch
        cdef tsf_batch_part part
        cdef Part *own
        cdef size_t size, end, length
        cdef char *to
        cdef bytes result
        if number >= self.n_parts:
            raise IndexError(number)
        if len(token) != 16:
            raise ValueError("a token has 16 bytes")
        own = &self.parts[number]
        end = self.parts[number + 1].begin if number + 1 < self.n_parts else self.size
        length = (<size_t> len(caller) + sizeof(tsf_batch) + <size_t> len(earlier) * sizeof(tsf_batch_part)
                  + end - own.begin)
        size = (length + 7) & ~<size_t> 7
        if size > <size_t> TSF_FRAME_MAX:
            raise ValueError("the environment and the command are too long")
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> (sizeof(tsf_frame) + size))
        to = PyBytes_AS_STRING(result)
        head.version = TSF_WIRE_VERSION
        head.type = TSF_FRAME_BATCH
        head.length = <uint32_t> size
        head.release = tsf_release(version)
        memcpy(to, &head, sizeof(head))
        to += sizeof(head)
        memcpy(to, PyBytes_AS_STRING(caller), <size_t> len(caller))
        memcpy(to, PyBytes_AS_STRING(token), 16)          # the first field of struct tsf_request
        to += len(caller)
        batch.place = own.place
        batch.count = own.count
        batch.parts = <uint32_t> len(earlier)
        batch.flags = TSF_BATCH_NO_BLOCK if no_block else 0
        batch.reserved = 0
        memcpy(to, &batch, sizeof(batch))
        to += sizeof(batch)
        for part.place, part.first in earlier:
            memcpy(to, &part, sizeof(part))
            to += sizeof(part)
        memcpy(to, self.data + own.begin, end - own.begin)
        memset(to + (end - own.begin), 0, size - length)
        return result


def current_caller(bytes cwd not None) -> bytes:
    """caller() of this process as it is now, in the directory `cwd`. The environment is that of os.environ and of
    putenv(3). Raises OSError."""
    cdef tsf_request head
    cdef unsigned long affinity[1024]
    cdef long got
    cdef int i
    cdef size_t size
    memset(&head, 0, sizeof(head))
    head.tty = TSF_HEARS_ALIVE
    parts = []
    while environ[head.env_count] != NULL:
        size = strlen(environ[head.env_count]) + 1
        parts.append(environ[head.env_count][:size])
        head.env_len += <uint32_t> size
        head.env_count += 1
    # Raw system calls, as in the launcher: the libraries narrow limits to their own types.
    head.nice = 20 - <int> syscall(SYS_getpriority, 0, 0)
    for i in range(16):
        if syscall(SYS_prlimit64, 0, i, NULL, <void *> head.limits[i]) != 0:
            head.limits[i][0] = head.limits[i][1] = UINT64_MAX
    got = syscall(SYS_sched_getaffinity, 0, sizeof(affinity), affinity)
    head.umask = current_umask()
    head.cwd_len = <uint32_t> len(cwd) + 1
    head.affinity_len = <uint32_t> max(got, 0)
    return (<char *> &head)[:sizeof(head)] + cwd + b"\0" + b"".join(parts) + (<char *> affinity)[:max(got, 0)]


cdef uint32_t current_umask() except? 0xffffffff:
    """From /proc, since Linux 4.7: umask(2) returns it only by changing it, for the other threads too."""
    cdef char text[2048]
    cdef const char *found
    cdef ssize_t got
    cdef int fd = open_(b"/proc/self/status", O_RDONLY | O_CLOEXEC)
    if fd < 0:
        raise OSError(errno, "/proc/self/status cannot be read")
    got = read(fd, text, sizeof(text) - 1)
    close(fd)
    text[max(got, 0)] = 0
    found = strstr(text, b"\nUmask:\t")
    if found == NULL:
        raise OSError(ENOENT, "/proc/self/status has no umask")
    return <uint32_t> strtoul(found + 8, NULL, 8)


def release(bytes version not None) -> int:
    """The number of a release, as in a frame's header."""
    return tsf_release(version)


def request(list words not None, bytes caller not None, bytes version not None) -> bytes:
    """A REQUEST frame with the words of a command line. caller: as caller() returns it, with a token; version: the
    release of the client, b"" for any. Raises ValueError: it is too long for a frame."""
    cdef tsf_frame frame
    cdef tsf_request head
    cdef bytes block = b"".join([word + b"\0" for word in words])
    cdef size_t size = len(caller) + len(block)
    if <size_t> len(caller) < sizeof(head):
        raise ValueError("caller: not what caller() returns")
    if size > <size_t> TSF_FRAME_MAX:
        raise ValueError(f"the request is too long: {size} bytes, at most {<size_t> TSF_FRAME_MAX}")
    frame.version = TSF_WIRE_VERSION
    frame.type = TSF_FRAME_REQUEST
    frame.length = <uint32_t> size
    frame.release = tsf_release(version)
    memcpy(&head, <const char *> caller, sizeof(head))
    head.argc = <uint32_t> len(words)
    head.argv_len = <uint32_t> len(block)
    return (<char *> &frame)[:sizeof(frame)] + (<char *> &head)[:sizeof(head)] + block + caller[sizeof(head):]


def caller(bytes cwd not None, list env not None, int umask, int nice, list limits not None,
           bytes affinity not None) -> bytes:
    """Everything about the caller that its jobs inherit: struct tsf_request with an empty token, and its strings. env:
    `NAME=VALUE`; limits: 16 pairs of soft and hard limit; affinity: the processor mask as sched_getaffinity(2) gives
    it."""
    cdef tsf_request head
    cdef bytes block = b"".join([change + b"\0" for change in env])
    cdef int i
    memset(&head, 0, sizeof(head))
    head.tty = TSF_HEARS_ALIVE
    head.cwd_len = <uint32_t> len(cwd) + 1
    head.env_count = <uint32_t> len(env)
    head.env_len = <uint32_t> len(block)
    head.affinity_len = <uint32_t> len(affinity)
    head.umask = <uint32_t> umask
    head.nice = nice
    for i in range(16):
        head.limits[i][0], head.limits[i][1] = limits[i]
    return (<char *> &head)[:sizeof(head)] + cwd + b"\0" + block + affinity
