"""The one table of a job's fields: what filters, and later columns, sorting and history, call them. Pure.

A field that a later release brings gets its row here first.
"""

cdef enum FieldKind:
    KIND_NUMBER
    KIND_TEXT
    KIND_TIME                # an instant or a day, in the client's time zone
    KIND_DURATION            # 90s, 1h30m
    KIND_SIZE                # of memory: 20G
    KIND_STATE               # a word for a set of states
    KIND_SPAN                # since, until: of the whole life of a job

cdef enum FieldId:
    FIELD_ID = 0
    FIELD_STATE
    FIELD_END
    FIELD_LABEL
    FIELD_COMMAND
    FIELD_CWD
    FIELD_OUTPUT
    FIELD_SLOTS
    FIELD_GPUS
    FIELD_SUBMITTED
    FIELD_STARTED
    FIELD_ENDED
    FIELD_WAIT
    FIELD_TIME
    FIELD_EXIT
    FIELD_SIGNAL
    FIELD_PEAK
    FIELD_SINCE
    FIELD_UNTIL
    FIELDS                   # how many there are

cdef struct Field:
    const char *name
    int kind                 # FieldKind
    const char *help

cdef Field[FIELDS] FIELD_TABLE                     # by FieldId
# The FieldId of a name, or -1.
cdef int field_named(const char *name, size_t size) noexcept nogil
# The states, a bit each (1 << enum tsf_state), that a word of `state` or `end` stands for; 0: no such word.
# `finished`, `skipped` and `cancelled` mean what the list shows; of `state`, `failed` is every failure.
cdef unsigned int states_of(int field, const char *word, size_t size) noexcept nogil
