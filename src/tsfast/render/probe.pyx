# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""For tests: one job in each of the formats."""
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strlen

from tsfast.base.text cimport Text, text_free
from tsfast.layout.table cimport TSF_QUEUED, tsf_cold, tsf_grant, tsf_granted, tsf_hot
from tsfast.render.info cimport info
from tsfast.render.json cimport json_object
from tsfast.render.rows cimport ArrayCounts, Look, array_row, list_header, list_kind, list_row, tab_row
from tsfast.store.record cimport Record


cdef void _fill(tsf_hot *hot, tsf_cold *cold, dict fields) except *:
    cdef bytes suffix = fields.get("suffix", b"")[:sizeof(hot.suffix)]
    cdef const char *start = suffix
    memset(hot, 0, sizeof(tsf_hot))
    memset(cold, 0, sizeof(tsf_cold))
    hot.state = fields.get("state", TSF_QUEUED)
    hot.notes = fields.get("notes", 0)
    hot.status = fields.get("status", 0) & 0xffff
    hot.pid = fields.get("pid", 0)
    hot.cause = fields.get("cause", 0)
    hot.stage = fields.get("stage", 0)
    hot.start_ns = fields.get("start_ns", 0)
    hot.duration_ns = fields.get("duration_ns", 0)
    hot.utime_ms = fields.get("utime_ms", 0)
    hot.stime_ms = fields.get("stime_ms", 0)
    hot.maxrss_kb = fields.get("maxrss_kb", 0)
    memcpy(hot.suffix, start, strlen(start))
    cold.enqueue_ns = fields.get("enqueue_ns", 0)
    cold.slots = fields.get("slots", 1)
    cold.flags = fields.get("flags", 0)
    cold.batch_index = fields.get("batch_index", 0)
    cold.batch_count = fields.get("batch_count", 1)
    cold.array_first = fields.get("array_first", 0)
    cold.array_limit = fields.get("array_limit", 0)
    cold.gpus = fields.get("gpus", 0)
    cold.gpu_share = fields.get("gpu_share", 0)
    cold.vram = fields.get("vram", 0)


cdef bytes _grant(list granted):
    """A tsf_grant as it stands behind a blob, unchecked; granted: (index, UUID)."""
    cdef tsf_grant head
    cdef tsf_granted one
    cdef bytes uuid
    cdef const char *start
    memset(&head, 0, sizeof(head))
    head.count = <uint32_t>len(granted)
    packed = [(<char *> &head)[:sizeof(head)]]
    for index, uuid in granted:
        memset(&one, 0, sizeof(one))
        one.index = index
        start = uuid
        memcpy(one.uuid, start, min(<size_t>len(uuid), sizeof(one.uuid) - 1))
        packed.append((<char *> &one)[:sizeof(one)])
    return b"".join(packed)


def render(str kind not None, dict fields not None, *, int columns=0, bint colour=False, bint gpus=False,
           unsigned long long now_ns=0, bint terminal=False) -> bytes:
    """One job as `list`, `tab`, `json` or `info`; an `array`, one of whose elements it is; or the `header` of the list.

    `fields`: those of tsf_hot and tsf_cold by name, and id, argv, after, after_ok, label, prefix, cwd, env_text,
    base_cwd (of the base context), used, granted (list of index and UUID), exact; pattern (words of an array's element,
    as typed), counts (of ArrayCounts).
    """
    cdef Text text
    cdef Record record
    cdef tsf_hot hot
    cdef tsf_cold cold
    cdef bytes ids = b"".join([int(id).to_bytes(8, "little")
                               for id in (*fields.get("after", ()), *fields.get("after_ok", ()))])
    cdef bytes argv = b"".join([word + b"\0" for word in (*fields.get("argv", ()), *fields.get("pattern", ()))])
    cdef bytes label = fields.get("label", b"")
    cdef bytes prefix = fields.get("prefix", b"")
    cdef bytes cwd = fields.get("cwd", b"")
    cdef bytes env_text = fields.get("env_text", b"")
    cdef bytes base_cwd = fields.get("base_cwd", b"/")
    cdef bytes named = fields.get("exact", b"")
    cdef bytes grant = _grant(fields["granted"]) if fields.get("granted") else b""
    cdef const char *granted = grant
    cdef Look look
    cdef ArrayCounts counts
    cdef bytes blob = ids + argv + label + named + prefix + cwd + env_text
    cdef const char *base = base_cwd
    cdef const char *start = blob
    cdef char *exact
    _fill(&hot, &cold, fields)
    cold.n_after = <uint32_t>len(fields.get("after", ()))
    cold.n_after_ok = <uint32_t>len(fields.get("after_ok", ()))
    cold.argc = <uint32_t>len(fields.get("argv", ()))
    cold.argv_len = <uint32_t>len(argv)
    cold.label_len = <uint32_t>len(label)
    cold.gpu_exact_len = <uint16_t>len(named)
    cold.prefix_len = <uint32_t>len(prefix)
    cold.cwd_len = <uint32_t>len(cwd)
    cold.env_text_len = <uint32_t>len(env_text)
    cold.blob_len = <uint32_t>len(blob)
    # Without the NUL that a bytes object has at its end, so that a sanitizer sees who reads too far
    exact = <char *>malloc(max(<size_t>len(blob), <size_t>1))
    if exact == NULL:
        raise MemoryError
    memcpy(exact, start, <size_t>len(blob))
    memset(&text, 0, sizeof(text))
    record.id = fields.get("id", 0)
    record.hot = &hot
    record.cold = &cold
    record.blob = exact
    record.grant = <const tsf_grant *> granted if grant else NULL
    memset(&look, 0, sizeof(look))
    look.columns = <uint32_t>columns
    look.colour = colour
    look.gpus = gpus
    look.now_ns = now_ns
    look.least = list_kind(terminal or columns)
    try:
        if kind == "header":
            list_header(&text, &look, fields.get("used", 0), fields.get("slots", 1))
        elif kind == "list":
            list_row(&text, &record, &look)
        elif kind == "array":
            counts = fields["counts"]
            array_row(&text, &record, &counts, &look)
        elif kind == "tab":
            tab_row(&text, &record, &look)
        elif kind == "json":
            json_object(&text, &record, base, <size_t>len(base_cwd), &look)
        elif kind == "info":
            info(&text, &record, base, <size_t>len(base_cwd), now_ns, False)
        else:
            raise ValueError(kind)
        if text.failed:
            raise MemoryError
        return text.data[:text.size]
    finally:
        text_free(&text)
        free(exact)
