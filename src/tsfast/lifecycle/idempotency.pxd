"""The idempotency keys of the newest requests that must not be carried out twice, and the jobs that they concern."""
from libc.stdint cimport uint64_t

from tsfast.base.idmap cimport IdMap, idmap_del, idmap_get, idmap_put, not_there
from tsfast.base.limits cimport TOKENS_KEPT

cdef struct Tokens:
    uint64_t ring[TOKENS_KEPT][3]     # token, id + 1
    IdMap places                      # owned: mixed token -> place in the ring
    uint64_t count                    # of all so far


cdef inline uint64_t tokens_find(const Tokens *tokens, const uint64_t *token) noexcept nogil:
    """Id + 1 of its job; 0 for a token that is not known or none."""
    cdef uint64_t place
    if token[0] == 0 and token[1] == 0:
        return 0
    place = idmap_get(&tokens.places, token[0] ^ token[1])
    if place == not_there() or tokens.ring[place][0] != token[0] or tokens.ring[place][1] != token[1]:
        return 0
    return tokens.ring[place][2]


cdef inline void tokens_remember(Tokens *tokens, const uint64_t *token, uint64_t id) noexcept nogil:
    cdef uint64_t place = tokens.count & (TOKENS_KEPT - 1)
    cdef uint64_t *old = tokens.ring[place]
    if token[0] == 0 and token[1] == 0:
        return
    if tokens.count >= TOKENS_KEPT and idmap_get(&tokens.places, old[0] ^ old[1]) == place:
        idmap_del(&tokens.places, old[0] ^ old[1])
    tokens.count += 1
    old[0] = token[0]
    old[1] = token[1]
    old[2] = id + 1
    idmap_put(&tokens.places, token[0] ^ token[1], place)
