# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See field_table.pxd."""
from tsfast.grammar.words cimport is_word
from tsfast.layout.table cimport (
    TSF_CANCELLED, TSF_FAILED, TSF_FINISHED, TSF_KILLED, TSF_LOST, TSF_NOT_STARTABLE, TSF_QUEUED, TSF_RUNNING,
    TSF_SKIPPED, TSF_STARTING,
)

cdef struct StateWord:
    const char *word
    unsigned int states      # as `state`, 0: not a word of it
    unsigned int ends        # as `end`, likewise

cdef enum:
    QUEUED = 1 << TSF_QUEUED
    RUNNING = 1 << TSF_STARTING | 1 << TSF_RUNNING
    DONE = 1 << TSF_FINISHED
    FAILED = 1 << TSF_FAILED
    KILLED = 1 << TSF_KILLED
    LOST = 1 << TSF_LOST
    NOT_STARTABLE = 1 << TSF_NOT_STARTABLE
    SKIPPED = 1 << TSF_SKIPPED
    CANCELLED = 1 << TSF_CANCELLED
    BAD = FAILED | KILLED | LOST | NOT_STARTABLE | SKIPPED | CANCELLED
    STATE_WORDS = 10

cdef Field[FIELDS] FIELD_TABLE = [
    Field(b"id", KIND_NUMBER, b"the job's id"),
    Field(b"state", KIND_STATE, b"queued, running, finished, skipped, cancelled, or as `end`; failed: any failure"),
    Field(b"end", KIND_STATE, b"done, failed, killed, cancelled, skipped, lost, not-startable"),
    Field(b"label", KIND_TEXT, b"-L"),
    Field(b"command", KIND_TEXT, b"the command as the list shows it"),
    Field(b"cwd", KIND_TEXT, b"the working directory"),
    Field(b"output", KIND_TEXT, b"the path of the output file"),
    Field(b"slots", KIND_NUMBER, b"-N"),
    Field(b"gpus", KIND_NUMBER, b"how many GPUs it asked for"),
    Field(b"submitted", KIND_TIME, b"when it was queued"),
    Field(b"started", KIND_TIME, b"when it started"),
    Field(b"ended", KIND_TIME, b"when it ended"),
    Field(b"wait", KIND_DURATION, b"how long it waited for its start"),
    Field(b"time", KIND_DURATION, b"how long it ran"),
    Field(b"exit", KIND_NUMBER, b"its exit code"),
    Field(b"signal", KIND_NUMBER, b"the signal that ended it"),
    Field(b"peak", KIND_SIZE, b"the most memory of its first process"),
    Field(b"since", KIND_SPAN, b"jobs that had not ended by then"),
    Field(b"until", KIND_SPAN, b"jobs that were queued by then"),
]

cdef StateWord[STATE_WORDS] WORDS = [
    StateWord(b"queued", QUEUED, 0),
    StateWord(b"running", RUNNING, 0),
    StateWord(b"finished", DONE | FAILED | KILLED | LOST | NOT_STARTABLE, 0),
    StateWord(b"done", DONE, DONE),
    StateWord(b"failed", BAD, FAILED),
    StateWord(b"killed", KILLED, KILLED),
    StateWord(b"cancelled", CANCELLED, CANCELLED),
    StateWord(b"skipped", SKIPPED, SKIPPED),
    StateWord(b"lost", LOST, LOST),
    StateWord(b"not-startable", NOT_STARTABLE, NOT_STARTABLE),
]


cdef int field_named(const char *name, size_t size) noexcept nogil:
    cdef int i
    for i in range(<int> FIELDS):
        if is_word(name, size, FIELD_TABLE[i].name):
            return i
    return -1


cdef unsigned int states_of(int field, const char *word, size_t size) noexcept nogil:
    cdef int i
    for i in range(STATE_WORDS):
        if is_word(word, size, WORDS[i].word):
            return WORDS[i].states if field == FIELD_STATE else WORDS[i].ends
    return 0


def fields() -> list[tuple[str, str]]:
    """Names and explanations of all fields, in the order of the table."""
    cdef int i
    return [(FIELD_TABLE[i].name.decode(), FIELD_TABLE[i].help.decode()) for i in range(<int> FIELDS)]
