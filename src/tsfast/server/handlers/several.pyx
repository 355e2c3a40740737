# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See several.pxd."""
cimport cython
from libc.stdlib cimport free, malloc

from tsfast.lifecycle.arrays cimport Span
from tsfast.server.handlers.describe cimport tell
from tsfast.grammar.options cimport (
    ACTION_CAT, ACTION_INFO, ACTION_KILL, ACTION_REMOVE, ACTION_STATE, ACTION_TAIL, ACTION_URGENT, ACTION_WAIT,
    ACTION_WHY, Command, IdRange,
)
from tsfast.base.idmap cimport not_there
from tsfast.scheduler.scheduler cimport (
    FLAG_BAD, FLAG_DUE, FLAG_WAITED, JOB_BLOCKED, JOB_ENDED, JOB_READY, JOB_RUNNING, JOB_STARTING, Job,
)
from tsfast.layout.structs cimport (
    TSF_EXIT_ERROR, TSF_FINISHED, TSF_FRAME_COUNTED, TSF_FRAME_OUT, TSF_FRAME_PROGRESS, TSF_TTY_STDERR, tsf_counted,
    tsf_hot, tsf_request,
)
from tsfast.base.limits cimport ANSWER_MAX, PROGRESS_MS
from tsfast.base.loop cimport Loop
from tsfast.base.text cimport text_char, text_str, text_u64
from tsfast.server.replies cimport Replies
from tsfast.store.record cimport error_level
from tsfast.lifecycle cimport changes
from tsfast.lifecycle.spool cimport Spool
from tsfast.base.system cimport CLOCK_MONOTONIC, SIGTERM, tsf_now_ns
from tsfast.server.waiters cimport ROLE_GROUP, Group, Member, Waiters
from tsfast.server.handlers.describe_array cimport tell_whole, whole_array


cdef void progress_due(void *owner) noexcept nogil:
    (<Many> owner)._show_progress()


cdef inline void begin(Cursor *cursor, const IdRange *ranges, size_t n) noexcept nogil:
    cursor.ranges = ranges
    cursor.n = n
    cursor.at = 0
    cursor.begun = False


@cython.final
cdef class Many:
    def __init__(self, Loop loop, Replies reply, Waiters waiters, Spool spool):
        self.loop = loop
        self.reply = reply
        self.waiters = waiters
        self.spool = spool
        self.timer = loop.new_timer(progress_due, <void *> self)

    cdef int perform(self, Conn *conn, const Command *command, const tsf_request *head) noexcept nogil:
        cdef uint64_t total
        if command.action == ACTION_WAIT:
            return self._wait_set(conn, command, head)
        total = self.count_known(conn, command)
        if total == 0:
            return 0
        if command.action == ACTION_REMOVE:
            return self._remove(conn, command, total, head.token)
        if command.action == ACTION_KILL:
            return self._kill(conn, command)
        if command.action == ACTION_URGENT:
            return self._urgent(conn, command, total)
        if command.action != ACTION_STATE and command.action != ACTION_INFO and command.action != ACTION_WHY:
            return self._tell_array(conn, command)
        return self._tell(conn, command)

    # ---- sets of ids -------------------------------------------------------------------------------------------
    cdef bint next_known(self, Cursor *cursor, uint64_t *id) noexcept nogil:
        while cursor.at < cursor.n:
            if not cursor.begun:
                cursor.begun = True
                cursor.next = cursor.ranges[cursor.at].first
            # next_id finds what comes after; after UINT64_MAX comes the first of all
            if self.spool.queue.next_id(cursor.next - 1, id) and id[0] <= cursor.ranges[cursor.at].last:
                cursor.next = id[0] + 1
                return True
            cursor.at += 1
            cursor.begun = False
        return False

    cdef uint64_t count_known(self, Conn *conn, const Command *command) noexcept nogil:
        """How many jobs the set has; 0 after an answer that one is unknown."""
        cdef Cursor cursor
        cdef uint64_t id, total = 0
        cdef size_t i
        for i in range(command.n_ranges):
            begin(&cursor, &command.ranges[i], 1)
            if not self.next_known(&cursor, &id):
                id = command.ranges[i].first
                if id >= self.spool.table.header.committed:
                    self.reply.fail_job(conn, id, b"does not exist")
                else:
                    self.reply.fail_job(conn, id, b"is no longer known")
                return 0
            total += 1
            while self.next_known(&cursor, &id):
                total += 1
        return total

    cdef uint64_t _forgotten(self, const Command *command, uint64_t known) noexcept nogil:
        """How many jobs of the set are not known any more, without those that -r took out of the queue."""
        cdef uint64_t committed = self.spool.table.header.committed, given_out = 0, removed = 0, last
        cdef size_t i
        for i in range(command.n_ranges):
            if command.ranges[i].first < committed:
                given_out += min(command.ranges[i].last, committed - 1) - command.ranges[i].first + 1
        if given_out == known:
            return 0
        for i in range(command.n_ranges):
            if command.ranges[i].first < committed:
                last = min(command.ranges[i].last, committed - 1)
                removed += self.spool.table.removed_ones(command.ranges[i].first, last)
        return given_out - known - removed

    cdef void _say_forgotten(self, Conn *conn, uint64_t forgotten, uint64_t total) noexcept nogil:
        self.reply.text.size = 0
        text_str(&self.reply.text, b"ts: ")
        text_u64(&self.reply.text, forgotten)
        text_str(&self.reply.text, b" of ")
        text_u64(&self.reply.text, total)
        text_str(&self.reply.text, b" jobs " if total > 1 else b" job ")
        text_str(&self.reply.text, b"were forgotten: how they ended is not known" if forgotten > 1
                 else b"was forgotten: how it ended is not known")
        self.reply.note(conn)

    cdef void _say_stuck(self, Conn *conn, const Group *group) noexcept nogil:
        self.reply.text.size = 0
        text_str(&self.reply.text, b"ts: ")
        text_u64(&self.reply.text, group.stuck)
        text_str(&self.reply.text, b" jobs cannot run" if group.stuck > 1 else b" job cannot run")
        text_str(&self.reply.text, b": the record of job ")
        text_u64(&self.reply.text, group.culprit)
        text_str(&self.reply.text, b" cannot be read (`ts -r ")
        text_u64(&self.reply.text, group.culprit)
        text_str(&self.reply.text, b"` removes it)")
        self.reply.note(conn)

    # ---- waiting -----------------------------------------------------------------------------------------------
    cdef int wait_all(self, Conn *conn, const tsf_request *head) noexcept nogil:
        """For those that have not ended yet; of a call that is made again, for those that had not when it began."""
        cdef IdRange everything
        cdef tsf_counted counted = head.counted
        cdef uint64_t total = self.spool.queue.known - self.spool.queue.ended
        cdef Group *group
        everything.first = 0
        everything.last = self.spool.table.header.committed
        if counted.since:
            total += self._ended_since(counted.since)
        else:
            counted.since = self.spool.next_end
        group = self.waiters.gather(conn, total, &counted, head.tty & TSF_TTY_STDERR)
        if group == NULL:
            return self.reply.no_memory(conn)
        self.reply.conns.send(conn, TSF_FRAME_COUNTED, &group.counted, sizeof(group.counted))
        return self._wait(conn, &everything, 1, group)

    cdef uint64_t _ended_since(self, uint64_t since) noexcept nogil:
        cdef Job *job = self.spool.queue.last_ended()
        cdef uint64_t n = 0
        while job != NULL and job.order >= since:
            n += 1
            job = self.spool.queue.preceding(job)
        return n

    cdef int _wait_set(self, Conn *conn, const Command *command, const tsf_request *head) noexcept nogil:
        cdef uint64_t total = 0, forgotten
        cdef Cursor cursor
        cdef uint64_t id
        cdef Group *group
        if head.counted.gone == 0:
            total = self.count_known(conn, command)
            if total == 0:
                return 0
        else:
            begin(&cursor, command.ranges, command.n_ranges)
            while self.next_known(&cursor, &id):
                total += 1
        forgotten = self._forgotten(command, total)
        group = self.waiters.gather(conn, total, &head.counted, head.tty & TSF_TTY_STDERR)
        if group == NULL:
            return self.reply.no_memory(conn)
        group.counted.since = 0
        group.forgotten = forgotten - min(forgotten, head.counted.gone)
        return self._wait(conn, command.ranges, command.n_ranges, group)

    cdef int _wait(self, Conn *conn, const IdRange *ranges, size_t n, Group *group) noexcept nogil:
        cdef uint64_t id, index = 0, since = group.counted.since
        cdef Cursor cursor
        cdef Job *job
        cdef tsf_hot hot
        self.spool.unreadable.look(~(<uint64_t> 0))
        begin(&cursor, ranges, n)
        while index < group.total and self.next_known(&cursor, &id):
            job = self.spool.queue.get(id)
            if job.state == JOB_ENDED:
                if since and job.order < since:
                    continue
                group.members[index].id = id
                if self.spool.table.read_hot(id, &hot) < 0:
                    self.waiters.count(group, id, True, -1)
                else:
                    self.waiters.count(group, id, hot.state != TSF_FINISHED, error_level(&hot))
            elif self.spool.unreadable.n and self.spool.unreadable.blocked(id, &group.culprit):
                group.members[index].id = not_there()
                group.stuck += 1
                group.left -= 1
            elif self.waiters.join(group, index, id) < 0:
                self.waiters.remove(conn)
                return self.reply.no_memory(conn)
            else:
                job.flags |= FLAG_WAITED
            index += 1
        if group.left == 0:
            return self._answer_group(group)
        if group.progress:
            self._show_progress()
        return 0

    cdef void clearing(self) noexcept nogil:
        cdef Conn *conn = self.reply.conns.all
        while conn != NULL:
            if conn.role == ROLE_GROUP:
                self._count_gone(<Group *> conn.group)
            conn = conn.next

    cdef void _count_gone(self, Group *group) noexcept nogil:
        cdef tsf_counted *counted = &group.counted
        cdef uint64_t i, before = counted.gone
        cdef Member *member
        cdef Job *job
        cdef tsf_hot hot
        for i in range(group.total):
            member = &group.members[i]
            job = self.spool.queue.get(member.id) if member.group == NULL and member.id != not_there() else NULL
            if job == NULL or job.state != JOB_ENDED or job.flags & FLAG_DUE:
                continue                       # one whose hook is due stays until that was started
            counted.gone += 1
            if job.flags & FLAG_BAD:
                if counted.bad == 0 or member.id < counted.bad_id:
                    counted.bad_id = member.id
                    counted.bad_level = error_level(&hot) if self.spool.table.read_hot(member.id, &hot) == 0 else -1
                counted.bad += 1
            member.id = not_there()
        if counted.gone != before:
            self.reply.conns.send(group.conn, TSF_FRAME_COUNTED, counted, sizeof(counted[0]))

    cdef void ended(self, uint64_t id, const tsf_hot *hot) noexcept nogil:
        cdef Member *member = self.waiters.first_member(id)
        cdef uint64_t *ended = self.waiters.ended_members
        cdef Group *group
        while member != NULL:
            group = member.group
            self.waiters.leave(member)
            self.waiters.count(group, id, hot.state != TSF_FINISHED, error_level(hot))
            group.ended += 1
            ended[0] += 1
            if group.left == 0:
                self._answer_group(group)
            member = self.waiters.first_member(id)

    cdef int _answer_group(self, Group *group) noexcept nogil:
        cdef Conn *conn = group.conn
        cdef int32_t level = group.bad_level if group.failed else 0
        if group.progress:
            self.reply.conns.send(conn, TSF_FRAME_PROGRESS, b"\r\x1b[K", 4)
        if group.forgotten or group.stuck:
            level = TSF_EXIT_ERROR
        if group.forgotten:
            self._say_forgotten(conn, group.forgotten, group.total + group.forgotten)
        if group.stuck:
            self._say_stuck(conn, group)
        self.waiters.remove(conn)
        return self.reply.exit(conn, level)

    cdef void _show_progress(self) noexcept nogil:
        cdef Group *group = self.waiters.watched
        cdef uint64_t now = tsf_now_ns(CLOCK_MONOTONIC)
        while group != NULL:
            # A caller that reads nothing is not told more.
            if group.conn.output_size == 0:
                self._progress_line(group, now)
                self.reply.conns.send(group.conn, TSF_FRAME_PROGRESS, self.reply.text.data, self.reply.text.size)
            group = group.next
        if self.waiters.watched != NULL:
            self.loop.set_timer(self.timer, PROGRESS_MS)

    cdef void _progress_line(self, const Group *group, uint64_t now) noexcept nogil:
        cdef uint64_t seconds = (now - group.since_ns) // 1000000000, running = 0, i
        cdef Job *job
        for i in range(group.total):
            if group.members[i].group != NULL:
                job = self.spool.queue.get(group.members[i].id)
                running += job != NULL and (job.state == JOB_STARTING or job.state == JOB_RUNNING)
        self.reply.text.size = 0
        text_str(&self.reply.text, b"\r\x1b[K")
        text_u64(&self.reply.text, group.counted.gone + group.total - group.left)
        text_str(&self.reply.text, b" ended, ")
        text_u64(&self.reply.text, group.failed)
        text_str(&self.reply.text, b" failed, ")
        text_u64(&self.reply.text, running)
        text_str(&self.reply.text, b" running, ")
        text_u64(&self.reply.text, group.left - running)
        text_str(&self.reply.text, b" left, ")
        text_u64(&self.reply.text, seconds // 3600)
        text_char(&self.reply.text, c':')
        text_char(&self.reply.text, <char> (c'0' + seconds // 600 % 6))
        text_char(&self.reply.text, <char> (c'0' + seconds // 60 % 10))
        text_char(&self.reply.text, c':')
        text_char(&self.reply.text, <char> (c'0' + seconds // 10 % 6))
        text_char(&self.reply.text, <char> (c'0' + seconds % 10))

    # ---- other actions -----------------------------------------------------------------------------------------
    cdef int _tell(self, Conn *conn, const Command *command) noexcept nogil:
        """-s: `id state` a line. -i: one text a job, each after a line `Job: id`, with an empty line between."""
        cdef int32_t level = 0
        cdef Cursor cursor
        cdef uint64_t id
        cdef const Span *array
        cdef const char *wrong
        cdef bint first = True
        self.reply.text.size = 0
        begin(&cursor, command.ranges, command.n_ranges)
        while self.next_known(&cursor, &id):
            array = whole_array(self.spool, &command.ranges[cursor.at]) if command.action == ACTION_WHY else NULL
            if array != NULL:
                tell_whole(&self.reply.text, self.spool, array, ACTION_WHY, self.waiters.n_parked, conn.tty)
                cursor.next = array.first + array.count
                continue
            if command.action == ACTION_INFO:
                if not first:
                    text_char(&self.reply.text, c'\n')
                text_str(&self.reply.text, b"Job: ")
            if command.action != ACTION_WHY:
                text_u64(&self.reply.text, id)
                text_char(&self.reply.text, c'\n' if command.action == ACTION_INFO else c' ')
            wrong = tell(&self.reply.text, self.spool, self.spool.queue.get(id), command.action,
                         self.waiters.n_parked, conn.tty)
            if wrong != NULL:
                text_str(&self.reply.text, wrong)
                text_char(&self.reply.text, c'\n')
                level = TSF_EXIT_ERROR
            if self.reply.text.size > <size_t> ANSWER_MAX:
                return self.reply.fail(conn, b"that is too long for one answer: ask for fewer jobs")
            first = False
        if command.action == ACTION_INFO:
            return self.reply.answer_info(conn, level)
        if level == 0 or self.reply.text.failed:
            return self.reply.answer(conn)
        self.reply.conns.send(conn, TSF_FRAME_OUT, self.reply.text.data, self.reply.text.size)
        return self.reply.exit(conn, level)

    cdef int _tell_array(self, Conn *conn, const Command *command) noexcept nogil:
        """What one job is asked for, of all elements of an array. Their outputs are shown by the caller's side."""
        cdef const Span *array = self.spool.arrays.of(command.id)
        cdef const char *wrong
        self.reply.text.size = 0
        if command.action == ACTION_CAT or command.action == ACTION_TAIL:
            text_str(&self.reply.text, b"array ")
            text_u64(&self.reply.text, array.first)
            text_char(&self.reply.text, c' ')
            text_u64(&self.reply.text, array.count)
            return self.reply.elsewhere_with_text(conn)
        wrong = tell_whole(&self.reply.text, self.spool, array, command.action, self.waiters.n_parked, conn.tty)
        return self.reply.answer(conn) if wrong == NULL else self.reply.fail_job(conn, array.first, wrong)

    cdef int _remove(self, Conn *conn, const Command *command, uint64_t total, const uint64_t *token) noexcept nogil:
        """The last one removed carries the token: with it the whole call is done (see Spool.remove)."""
        cdef Cursor cursor
        cdef uint64_t id, last = 0
        cdef Job *job
        begin(&cursor, command.ranges, command.n_ranges)
        while self.next_known(&cursor, &id):
            job = self.spool.queue.get(id)
            if job.state == JOB_STARTING or job.state == JOB_RUNNING:
                return self.reply.fail_job(conn, id, b"is running: end it with -k first; nothing was removed")
            last = id
        begin(&cursor, command.ranges, command.n_ranges)
        while self.next_known(&cursor, &id):
            if id != last and changes.remove(self.spool, id, NULL) == -1:
                return self.reply.fail_errno(conn, b"the job table could not be written")
        if changes.remove(self.spool, last, token) == -1:
            return self.reply.fail_errno(conn, b"the job table could not be written")
        return self.reply.exit(conn, 0)

    cdef int _kill(self, Conn *conn, const Command *command) noexcept nogil:
        cdef Cursor cursor
        cdef uint64_t id
        cdef size_t i
        cdef uint64_t running = 0
        cdef Job *job
        for i in range(command.n_ranges):
            begin(&cursor, &command.ranges[i], 1)
            while self.next_known(&cursor, &id):
                job = self.spool.queue.get(id)
                if job.state == JOB_STARTING or job.state == JOB_RUNNING:
                    running += 1
                elif command.ranges[i].first == command.ranges[i].last:
                    return self.reply.fail_job(conn, id, b"is not running; no signal was sent")
        if running == 0:
            return self.reply.fail(conn, b"none of these jobs is running")
        begin(&cursor, command.ranges, command.n_ranges)
        while self.next_known(&cursor, &id):
            changes.signal(self.spool, id, SIGTERM)
        return self.reply.exit(conn, 0)

    cdef int _urgent(self, Conn *conn, const Command *command, uint64_t total) noexcept nogil:
        """They are the next ones, in the order in which they are named."""
        cdef uint64_t *ids = <uint64_t *> malloc(<size_t> total * sizeof(uint64_t))
        cdef Cursor cursor
        cdef uint64_t n = 0
        cdef Job *job
        if ids == NULL:
            return self.reply.no_memory(conn)
        begin(&cursor, command.ranges, command.n_ranges)
        while n < total and self.next_known(&cursor, &ids[n]):
            job = self.spool.queue.get(ids[n])
            if job.state != JOB_BLOCKED and job.state != JOB_READY:
                self.reply.fail_job(conn, ids[n], b"is not queued; nothing was moved")
                free(ids)
                return 0
            if self.spool.unreadable.has(ids[n]):
                self.reply.fail_job(conn, ids[n], b"has a record that cannot be read; nothing was moved")
                free(ids)
                return 0
            n += 1
        while n > 0:
            n -= 1
            if changes.urgent(self.spool, ids[n]) < 0:
                free(ids)
                return self.reply.fail_errno(conn, b"the job table could not be written")
        free(ids)
        return self.reply.exit(conn, 0)
