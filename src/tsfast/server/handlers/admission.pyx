# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""See admission.pxd."""
from tsfast.server.connections cimport Conn, conn_of


cdef bint full(Services services, uint64_t more) noexcept nogil:
    cdef uint64_t unfinished = services.spool.unfinished()
    return services.max_unfinished and unfinished and unfinished + more > services.max_unfinished


cdef bint must_wait(Services services, uint64_t jobs) noexcept nogil:
    cdef bint has_its_turn = services.admitting
    services.admitting = False
    return full(services, jobs) or (services.waiters.parked != NULL and not has_its_turn)


cdef void admit_parked(Services services) noexcept nogil:
    cdef Conn *conn = conn_of(services.waiters.parked)
    while conn != NULL and not full(services, conn.awaited.room):
        services.waiters.remove(conn)
        services.admitting = True
        services.conns.resume(conn)
        services.admitting = False
        conn = conn_of(services.waiters.parked)
