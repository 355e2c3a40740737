"""Points at which a debug build dies or stops (native/fault.h)."""

cdef extern from "tsfast/native/fault.h" nogil:
    void tsf_fault(const char *name) noexcept
    void tsf_count_python_steps() noexcept
    int tsf_wait_ms(int ms) noexcept
