"""A list whose links lie in the objects themselves, so that nothing is allocated for it. Inline helpers.

The head of a list is a pointer to its first link, NULL if it is empty: it fits the value of an IdMap.
"""

cdef struct Link:
    Link *next            # NULL: it is the last one
    Link *prev            # of the first one: the last one, so that appending needs no second head. NULL: in no list
    void *owner           # the object that it belongs to; set by the owner

cdef inline bint is_linked(const Link *link) noexcept nogil:
    return link.prev != NULL

cdef inline void links_prepend(Link **first, Link *link) noexcept nogil:
    link.next = first[0]
    link.prev = link
    if first[0] != NULL:
        link.prev = first[0].prev
        first[0].prev = link
    first[0] = link

cdef inline void links_append(Link **first, Link *link) noexcept nogil:
    if first[0] == NULL:
        links_prepend(first, link)
        return
    link.next = NULL
    link.prev = first[0].prev
    link.prev.next = link
    first[0].prev = link

cdef inline void links_remove(Link **first, Link *link) noexcept nogil:
    if link.next != NULL:
        link.next.prev = link.prev
    else:
        first[0].prev = link.prev
    if first[0] == link:
        first[0] = link.next
    else:
        link.prev.next = link.next
    link.next = link.prev = NULL
