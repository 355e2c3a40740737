"""The server's own environment: --getenv, --setenv, --unsetenv. It lives as long as the server does."""
from tsfast.grammar.options cimport Command
from tsfast.base.text cimport Text

# Does what the command asks; --getenv's answer is added to the text. 0, or -1 with errno.
cdef int environ_action(Text *text, const Command *command) noexcept nogil
# Where output files go without --set_logdir: TMPDIR of the server, else /tmp. Valid until the next environ_action.
cdef const char *default_logdir() noexcept nogil
