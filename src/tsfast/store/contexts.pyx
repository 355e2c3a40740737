# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See contexts.pxd."""
import os

from tsfast.base import trust

cimport cython
from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset, strcmp, strlen, strncmp

from tsfast.base.idmap cimport idmap_del, idmap_free, idmap_get, idmap_put, not_there
from tsfast.store.journal cimport DEFER_CONTEXT, TSF_JOURNAL_CONTEXT
from tsfast.layout.check cimport tsf_check32, tsf_hash64
from tsfast.layout.table cimport TSF_CTX_MAGIC, tsf_ctx
from tsfast.layout.wire cimport tsf_request
from tsfast.base.system cimport (
    EEXIST, EIO, ENOMEM, O_CLOEXEC, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY, close, errno, fstat, openat,
    read, ssize_t, stat_t, tsf_open_ours, unlinkat, write,
    set_errno,
)

cdef extern from "<stdio.h>" nogil:
    int snprintf(char *text, size_t room, const char *format, ...)

cdef enum:
    NAME_ROOM = 24
    SEEN = 1                   # in Base.seen: the other environment has a variable of that name,
    SHARED = 2                 # and with the same value


cdef inline size_t name_length(const char *string, size_t size) noexcept nogil:
    """Bytes before the first `=`, or size where there is none."""
    cdef const char *equals = <const char *> memchr(string, c'=', size)
    return <size_t> (equals - string) if equals != NULL else size


cdef inline const tsf_ctx *header(const Base *base) noexcept nogil:
    return <const tsf_ctx *> base.data


cdef inline const char *base_affinity(const Base *base) noexcept nogil:
    return base.data + sizeof(tsf_ctx)


cdef inline const char *base_cwd(const Base *base) noexcept nogil:
    return base_affinity(base) + header(base).affinity_len


cdef inline const char *base_env(const Base *base) noexcept nogil:
    return base_cwd(base) + header(base).cwd_len


cdef void base_free(Base *base) noexcept nogil:
    free(base.data)
    free(base.entries)
    free(base.index)
    free(base.seen)
    memset(base, 0, sizeof(Base))



cdef long base_find(const Base *base, const char *string, size_t name) noexcept nogil:
    """Number of the variable of that name, -1 if there is none."""
    cdef uint32_t i = <uint32_t> tsf_hash64(string, name, 0) & (base.index_room - 1), entry
    cdef const char *candidate
    while base.index[i]:
        entry = base.index[i] - 1
        candidate = base_env(base) + base.entries[entry]
        if strncmp(candidate, string, name) == 0 and (candidate[name] == c'=' or candidate[name] == 0):
            return entry
        i = (i + 1) & (base.index_room - 1)
    return -1


cdef int base_index(Base *base) noexcept nogil:
    """Make the index of variables. 0; 1 if the environment cannot be a base (a name twice, an entry without `=`);
    -1 without memory."""
    cdef uint32_t n = header(base).env_count, i, place
    cdef const char *env = base_env(base)
    cdef size_t at = 0, size, name
    base.index_room = 16
    while base.index_room < 2 * n:
        base.index_room *= 2
    base.entries = <uint32_t *> calloc(n + 1, sizeof(uint32_t))
    base.index = <uint32_t *> calloc(base.index_room, sizeof(uint32_t))
    base.seen = <uint8_t *> calloc(n + 1, 1)
    if base.entries == NULL or base.index == NULL or base.seen == NULL:
        return -1
    for i in range(n):
        size = strlen(env + at)
        name = name_length(env + at, size)
        if name == size or base_find(base, env + at, name) >= 0:
            return 1
        base.entries[i] = <uint32_t> at
        place = <uint32_t> tsf_hash64(env + at, name, 0) & (base.index_room - 1)
        while base.index[place]:
            place = (place + 1) & (base.index_room - 1)
        base.index[place] = i + 1
        at += size + 1
    return 0


cdef long difference(Base *base, const char *env, uint32_t count, char *diff, bint *adds) noexcept nogil:
    """Write what `env` has and the base has not. Its length, or -1 if it is longer than DIFF_MAX or cannot be told by
    names. `adds`: that is all that makes `env` of the base's environment; else what they share is marked in
    base.seen."""
    cdef size_t size, name, length = 0
    cdef const char *candidate
    cdef long entry
    cdef uint32_t _i, shared = 0
    memset(base.seen, 0, header(base).env_count)
    for _i in range(count):
        size = strlen(env)
        name = name_length(env, size)
        if name == size:
            return -1
        entry = base_find(base, env, name)
        if entry >= 0:
            if base.seen[entry]:
                return -1
            base.seen[entry] = SEEN
            candidate = base_env(base) + base.entries[entry]
        if entry >= 0 and strcmp(candidate, env) == 0:
            base.seen[entry] = SHARED
            shared += 1
        else:
            if length + size + 1 > DIFF_MAX:
                return -1
            memcpy(diff + length, env, size + 1)
            length += size + 1
        env += size + 1
    adds[0] = shared == header(base).env_count
    return <long> length


cdef char *shared_part(const Base *base, tsf_request *head) noexcept nogil:
    """The variables of the base that difference() has marked, malloc'ed, and their size and number; NULL without
    memory."""
    cdef char *env = <char *> malloc(header(base).env_len + 1)
    cdef const char *variable
    cdef size_t size
    cdef uint32_t i
    head.env_len = head.env_count = 0
    if env == NULL:
        return NULL
    for i in range(header(base).env_count):
        if base.seen[i] == SHARED:
            variable = base_env(base) + base.entries[i]
            size = strlen(variable) + 1
            memcpy(env + head.env_len, variable, size)
            head.env_len += <uint32_t> size
            head.env_count += 1
    return env


cdef void deferred(void *owner, int kind, uint64_t number) noexcept nogil:
    (<Contexts> owner)._unlink(number)


@cython.final
cdef class Contexts:
    def __cinit__(self):
        self.dir_fd = -1

    def __init__(self, int state_dir):
        """Use ctx/ of a state directory, made if it is not there. Raises OSError."""
        self.dir_fd = trust.open_subdirectory("ctx", state_dir, make=True)

    def __dealloc__(self):
        cdef int i
        for i in range(CONTEXTS_CACHED):
            base_free(&self.cache[i])
        idmap_free(&self.refs)
        if self.dir_fd >= 0:
            close(self.dir_fd)

    def sweep(self, bint all=False):
        """Unlink the files of contexts that no recovered job uses (or of all). Raises OSError."""
        for name in os.listdir(self.dir_fd):
            try:
                used = not all and idmap_get(&self.refs, <uint64_t> int(name, 16)) != not_there()
            except ValueError:
                used = False
            if not used:
                os.unlink(name, dir_fd=self.dir_fd)

    # ---- files -------------------------------------------------------------------------------------------------
    cdef int _store(self, const Base *base) noexcept nogil:
        cdef char name[NAME_ROOM]
        cdef const char *p = base.data
        cdef size_t left = base.size
        cdef ssize_t wrote
        cdef int fd, error
        snprintf(name, NAME_ROOM, b"%016llx", <unsigned long long> base.name)
        fd = openat(self.dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if fd < 0:
            return -1
        while left > 0:
            wrote = write(fd, p, left)
            if wrote <= 0:
                error = errno
                close(fd)
                unlinkat(self.dir_fd, name, 0)
                set_errno(error)
                return -1
            p += wrote
            left -= <size_t> wrote
        close(fd)
        return 0

    cdef int _load(self, uint64_t number, Base *base) noexcept nogil:
        """Read a stored context into an empty Base, without an index."""
        cdef char name[NAME_ROOM]
        cdef stat_t st
        cdef ssize_t got
        cdef size_t size = 0
        cdef const tsf_ctx *head
        cdef int fd
        snprintf(name, NAME_ROOM, b"%016llx", <unsigned long long> number)
        fd = tsf_open_ours(self.dir_fd, name, O_RDONLY)
        if fd < 0:
            return -1
        if fstat(fd, &st) == 0 and st.st_size > <long> sizeof(tsf_ctx):
            base.data = <char *> malloc(<size_t> st.st_size)
            while base.data != NULL and size < <size_t> st.st_size:
                got = read(fd, base.data + size, <size_t> st.st_size - size)
                if got <= 0:
                    break
                size += <size_t> got
        close(fd)
        head = header(base)
        if (base.data == NULL or size < sizeof(tsf_ctx) or head.magic != TSF_CTX_MAGIC
                or size != sizeof(tsf_ctx) + <size_t> head.affinity_len + head.cwd_len + head.env_len
                or head.cwd_len == 0 or base_cwd(base)[head.cwd_len - 1] != 0
                or tsf_check32(&head.umask, size - 8, 0) != head.check):
            base_free(base)
            set_errno(EIO)
            return -1
        base.name = number
        base.size = size
        return 0

    # ---- finding -----------------------------------------------------------------------------------------------
    cdef int acquire(self, const tsf_request *request, const char *cwd, const char *env, const char *affinity,
                     Context *out) noexcept nogil:
        cdef Base *base
        cdef Base *best = NULL
        cdef Base *alike = NULL
        cdef const tsf_ctx *head
        cdef uint64_t count
        cdef long length, shortest = DIFF_MAX + 1, least = DIFF_MAX + 1
        cdef bint adds
        cdef int i, current = 0
        self.calls += 1
        for i in range(CONTEXTS_CACHED):
            base = &self.cache[i]
            if not base.used:
                continue
            head = header(base)
            if (head.umask != request.umask or head.nice != request.nice
                    or head.affinity_len != request.affinity_len
                    or memcmp(head.limits, request.limits, sizeof(head.limits)) != 0
                    or memcmp(base_affinity(base), affinity, request.affinity_len) != 0):
                continue
            adds = True
            if head.env_len == request.env_len and memcmp(base_env(base), env, head.env_len) == 0:
                length = 0
            elif base.index != NULL:
                length = difference(base, env, request.env_count, self.diff[current], &adds)
                # A base serves others only while the difference is small against the whole.
                if length < 0 or 2 * <uint64_t> length > request.env_len:
                    continue
            else:
                continue
            if not adds:
                if length < least:
                    least = length
                    alike = base
            elif length < shortest:
                shortest = length
                best = base
                out.diff = self.diff[current]
                current = 1 - current
                if length == 0:
                    break
        if best == NULL and alike != NULL:
            best = self._new_of_shared(request, cwd, env, affinity, alike)
            if best != NULL:
                shortest = difference(best, env, request.env_count, self.diff[0], &adds)
                out.diff = self.diff[0]
        elif best == NULL:
            best = self._new(request, cwd, env, affinity)
            shortest = 0
        if best == NULL:
            return -1
        best.used = self.calls
        out.name = best.name
        out.diff_len = <uint32_t> shortest
        out.cwd = cwd
        out.cwd_len = request.cwd_len - 1
        if header(best).cwd_len == request.cwd_len and memcmp(base_cwd(best), cwd, request.cwd_len) == 0:
            out.cwd_len = 0
        count = idmap_get(&self.refs, best.name)
        if idmap_put(&self.refs, best.name, 1 if count == not_there() else count + 1) < 0:
            set_errno(ENOMEM)
            return -1
        return 0

    cdef Base *_new_of_shared(self, const tsf_request *request, const char *cwd, const char *env, const char *affinity,
                              const Base *alike) noexcept nogil:
        """A base context of what an environment shares with another base. That one has variables of its own, perhaps
        secrets, and would keep them on the disk for as long as a job without them uses it."""
        cdef tsf_request head = request[0]
        cdef char *shared = shared_part(alike, &head)
        cdef Base *base = NULL
        cdef int error = ENOMEM
        if shared != NULL:
            base = self._new(&head, cwd, shared, affinity)
            error = errno
            free(shared)
        set_errno(error)
        return base

    cdef Base *_new(self, const tsf_request *request, const char *cwd, const char *env,
                    const char *affinity) noexcept nogil:
        """A base context of this request, stored and in the cache; NULL with errno."""
        cdef Base fresh
        cdef Base old
        cdef Base *place = NULL
        cdef tsf_ctx *head
        cdef bint same
        cdef int i
        memset(&fresh, 0, sizeof(Base))
        memset(&old, 0, sizeof(Base))
        fresh.size = sizeof(tsf_ctx) + <size_t> request.affinity_len + request.cwd_len + request.env_len
        fresh.data = <char *> malloc(fresh.size)
        if fresh.data == NULL:
            set_errno(ENOMEM)
            return NULL
        head = <tsf_ctx *> fresh.data
        head.magic = TSF_CTX_MAGIC
        head.umask = request.umask
        head.nice = request.nice
        head.affinity_len = request.affinity_len
        head.cwd_len = request.cwd_len
        head.env_count = request.env_count
        head.env_len = request.env_len
        memcpy(head.limits, request.limits, sizeof(head.limits))
        memcpy(fresh.data + sizeof(tsf_ctx), affinity, request.affinity_len)
        memcpy(fresh.data + sizeof(tsf_ctx) + request.affinity_len, cwd, request.cwd_len)
        memcpy(fresh.data + sizeof(tsf_ctx) + request.affinity_len + request.cwd_len, env, request.env_len)
        head.check = tsf_check32(&head.umask, fresh.size - 8, 0)
        fresh.name = tsf_hash64(&head.umask, fresh.size - 8, 0)
        while True:
            if fresh.name == not_there():
                fresh.name = 0
            if idmap_get(&self.refs, fresh.name) == not_there():
                break
            # In use: the same context that has left the cache, or another of the same hash.
            same = (self._load(fresh.name, &old) == 0 and old.size == fresh.size
                    and memcmp(old.data, fresh.data, fresh.size) == 0)
            base_free(&old)
            if same:
                break
            fresh.name += 1
        i = base_index(&fresh)
        if i == 1:
            free(fresh.index)
            fresh.index = NULL
        if i < 0 or (self._store(&fresh) < 0 and errno != EEXIST):
            if i < 0:
                set_errno(ENOMEM)
            base_free(&fresh)
            return NULL
        if self.journal is not None:           # also if the file was there: its unlinking may be due
            self.journal.add(TSF_JOURNAL_CONTEXT, fresh.name, 0, fresh.data, fresh.size)
        place = &self.cache[0]
        for i in range(CONTEXTS_CACHED):
            if self.cache[i].used < place.used:
                place = &self.cache[i]
        base_free(place)
        place[0] = fresh
        return place

    cdef void release(self, uint64_t name) noexcept nogil:
        cdef uint64_t count = idmap_get(&self.refs, name)
        cdef int i
        if count == not_there():
            return
        if count > 1:
            idmap_put(&self.refs, name, count - 1)
            return
        idmap_del(&self.refs, name)
        if self.journal is not None:
            self.journal.defer(DEFER_CONTEXT, name)
        else:
            self._unlink(name)
        for i in range(CONTEXTS_CACHED):
            if self.cache[i].used and self.cache[i].name == name:
                base_free(&self.cache[i])

    cdef void use(self, Journal journal) noexcept:
        self.journal = journal
        journal.register(DEFER_CONTEXT, deferred, <void *> self)

    cdef void _unlink(self, uint64_t name) noexcept nogil:
        cdef char file_name[NAME_ROOM]
        if idmap_get(&self.refs, name) != not_there():
            return                             # a job of now has it again
        snprintf(file_name, NAME_ROOM, b"%016llx", <unsigned long long> name)
        unlinkat(self.dir_fd, file_name, 0)

    cdef int one_more(self, uint64_t name) noexcept nogil:
        cdef uint64_t count = idmap_get(&self.refs, name)
        return idmap_put(&self.refs, name, 1 if count == not_there() else count + 1)

    cdef const char *directory(self, uint64_t name) noexcept nogil:
        cdef Base loaded
        cdef Base *place
        cdef int i
        for i in range(CONTEXTS_CACHED):
            if self.cache[i].used and self.cache[i].name == name:
                return base_cwd(&self.cache[i])
        memset(&loaded, 0, sizeof(Base))
        if self._load(name, &loaded) < 0:
            return NULL
        if base_index(&loaded) != 0:
            free(loaded.index)
            loaded.index = NULL
        place = &self.cache[0]
        for i in range(CONTEXTS_CACHED):
            if self.cache[i].used < place.used:
                place = &self.cache[i]
        base_free(place)
        place[0] = loaded
        self.calls += 1
        place.used = self.calls
        return base_cwd(place)
