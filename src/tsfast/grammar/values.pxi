# The part of options.pyx that reads the arguments of options.

cdef int read_ids(Command *command, const Option *option, const char *value, uint64_t **ids,
                  size_t *count) noexcept nogil:
    """Appends the ids of `1,4-6` to the list, one by one; `@` stands before a place in a batch, or a range of them."""
    cdef size_t words = 1, size, needed, room = 0
    cdef uint64_t first = 0, last = 0, id
    cdef bint place
    cdef const char *end
    cdef const char *word = strchr(value, c",")
    cdef uint64_t *grown
    while word != NULL:
        words += 1
        word = strchr(word + 1, c",")
    word = value
    while True:
        end = strchr(word, c",")
        size = strlen(word) if end == NULL else <size_t>(end - word)
        place = size > 0 and word[0] == c"@"
        if not read_range(word + place, size - place, MAX_ID, &first, &last):
            return wrong_value(command, option, word, size, "is not a job id (expected a list such as 3 or 3,5-8)")
        if last - first >= MAX_DEPENDENCIES:
            return wrong_value(command, option, word, size, "names too many jobs (at most 1000000)")
        words -= 1
        needed = count[0] + words + <size_t>(last - first) + 1          # if all others are single ones
        if needed > room:
            room = needed
            grown = <uint64_t *>realloc(ids[0], room * sizeof(uint64_t))
            if grown == NULL:
                return option_error(command, option, "has more ids than there is memory for", b"")
            ids[0] = grown
        for id in range(first, last + 1):
            ids[0][count[0]] = id | <uint64_t>1 << PLACE_BIT if place else id
            count[0] += 1
        if end == NULL:
            return 0
        word = end + 1


cdef bint read_element(const char *value, size_t size, IdRange *element) noexcept nogil:
    """`5[7]` or `5[7-9]`."""
    cdef size_t head = 0
    cdef uint64_t index = 0, last = 0
    while head < size and value[head] != c"[":
        head += 1
    if (size < head + 3 or value[size - 1] != c"]" or not read_number(value, head, MAX_ID, &element.first)
            or not read_range(value + head + 1, size - head - 2, MAX_INDEX, &index, &last)):
        return False
    element.last = element.first
    element.element = True
    element.index = <uint32_t>index
    element.last_index = <uint32_t>last
    return True


cdef int read_id_set(Command *command, const Option *option, const char *value) noexcept nogil:
    """`3,7-12,5[7]`: ranges of ids, a single one being a range too. More than one id: has_id stays False. Added to
    those that are there."""
    cdef size_t more = 1, size
    cdef const char *end
    cdef const char *bracket
    cdef const char *word = strchr(value, c",")
    cdef IdRange *ranges
    while word != NULL:
        more += 1
        word = strchr(word + 1, c",")
    if command.n_ranges + more > MAX_RANGES:
        return option_error(command, option, "names too many jobs (at most 65536 ids or ranges)", b"")
    ranges = <IdRange *>realloc(command.ranges, (command.n_ranges + more) * sizeof(IdRange))
    if ranges == NULL:
        return option_error(command, option, "has more ids than there is memory for", b"")
    command.ranges = ranges
    ranges += command.n_ranges
    word = value
    while True:
        end = strchr(word, c",")
        size = strlen(word) if end == NULL else <size_t>(end - word)
        bracket = strchr(word, c"[")
        memset(ranges, 0, sizeof(IdRange))
        if bracket != NULL and <size_t>(bracket - word) < size:
            if not read_element(word, size, ranges):
                return wrong_value(command, option, word, size,
                                   "is not an element of an array (such as 5[7] or 5[7-9])")
        elif not read_range(word, size, MAX_ID, &ranges.first, &ranges.last):
            if size and strchr(word, c"-") != NULL and c"0" <= word[0] <= c"9":
                return wrong_value(command, option, word, size, "is not a range of job ids (such as 7-12)")
            return wrong_value(command, option, word, size,
                               "is not a job id (expected whole numbers, such as 3 or 3,7-12)")
        ranges += 1
        command.n_ranges += 1
        if end == NULL:
            break
        word = end + 1
    command.id = command.ranges[0].first
    command.has_id = (command.n_ranges == 1 and command.n_filters == 0 and command.ranges[0].last == command.id
                      and command.ranges[0].index == command.ranges[0].last_index)
    return 0


cdef int read_one_filter(Command *command, const Option *option, const char *word) noexcept nogil:
    cdef Filter *grown
    cdef char[32] name
    cdef char[200] why
    if command.n_filters == MAX_FILTERS:
        return option_error(command, option, "has more than 64 filters", b"")
    grown = <Filter *>realloc(command.filters, (command.n_filters + 1) * sizeof(Filter))
    if grown == NULL:
        return option_error(command, option, "has more filters than there is memory for", b"")
    command.filters = grown
    if read_filter(word, &grown[command.n_filters], why, sizeof(why)) < 0:
        snprintf(command.error, sizeof(command.error), "%s: %s", spelling(name, option), <char *>why)
        return -1
    command.n_filters += 1
    command.has_id = False
    return 0


cdef int read_selector(Command *command, const Option *option, const char *word) noexcept nogil:
    """One of the words that choose the jobs of an action: ids, or a filter."""
    if is_filter(word):
        return read_one_filter(command, option, word)
    return read_id_set(command, option, word)


cdef int read_array(Command *command, const Option *option, const char *value) noexcept nogil:
    """`1-1000` or `1-1000%50`."""
    cdef const char *limit = strchr(value, c"%")
    cdef uint64_t first = 0, last = 0, at_once = 0
    cdef size_t size = strlen(value) if limit == NULL else <size_t>(limit - value)
    if (not read_range(value, size, MAX_INDEX, &first, &last)
            or (limit != NULL and (not read_number(limit + 1, strlen(limit + 1), MAX_INDEX, &at_once)
                                   or at_once == 0))):
        return wrong_value(command, option, value, strlen(value),
                           "is not a range of numbers (such as 1-1000, or 1-1000%50 for at most 50 at once)")
    if last - first >= <uint64_t> ARRAY_MAX:
        return wrong_value(command, option, value, strlen(value), "has more than 65536 numbers")
    command.array_first = <uint32_t>first
    command.array_count = <uint32_t>(last - first + 1)
    command.array_limit = <uint32_t>at_once
    return 0


cdef int read_pair(Command *command, const Option *option, const char *value) noexcept nogil:
    cdef const char *dash = strchr(value, c"-")
    if dash == NULL or not read_number(value, <size_t>(dash - value), MAX_ID, &command.id) \
            or not read_number(dash + 1, strlen(dash + 1), MAX_ID, &command.id2):
        return wrong_value(command, option, value, strlen(value), "is not a pair of job ids (such as 3-5)")
    if command.id == command.id2:
        return wrong_value(command, option, value, strlen(value), "names one job twice (expected two different ones)")
    command.has_id = True
    return 0


cdef int read_gpu_count(Command *command, const Option *option, const char *value) noexcept nogil:
    """Whole GPUs, or thousandths of one."""
    cdef uint64_t thousandths = 0
    cdef size_t size = strlen(value)
    if (not read_decimal(value, size, 3, <uint64_t> TSF_GPUS * TSF_GPU_WHOLE, &thousandths)
            or (thousandths > TSF_GPU_WHOLE and thousandths % TSF_GPU_WHOLE)):
        return wrong_value(command, option, value, size,
                           "is not a number of GPUs (0 to 1024, or a share of one, such as 0.5 or 0.125)")
    if thousandths % TSF_GPU_WHOLE:
        command.gpus = 1
        command.gpu_share = <uint32_t> thousandths
    else:
        command.gpus = <uint32_t> (thousandths // TSF_GPU_WHOLE)
        command.gpu_share = TSF_GPU_WHOLE
    return 0


cdef bint is_uuid(const char *word, size_t size) noexcept nogil:
    cdef size_t i
    if size < 5 or size > 63 or (strncmp(word, b"GPU-", 4) and strncmp(word, b"MIG-", 4)):
        return False
    for i in range(4, size):
        if not (c"0" <= word[i] <= c"9" or c"a" <= word[i] <= c"z" or c"A" <= word[i] <= c"Z"
                or word[i] == c"-" or word[i] == c"/"):
            return False
    return True


cdef int read_gpu_list(Command *command, const Option *option, const char *value) noexcept nogil:
    """How many it names; whether they are there is for the server to see."""
    cdef const char *word = value
    cdef const char *end
    cdef size_t size
    cdef uint64_t number = 0
    command.gpus = 0
    command.gpu_exact = value
    if strlen(value) > MAX_GPU_LIST:
        return option_error(command, option, "names too many GPUs (at most 1024)", b"")
    while True:
        end = strchr(word, c",")
        size = strlen(word) if end == NULL else <size_t>(end - word)
        if not read_number(word, size, TSF_GPUS - 1, &number) and not is_uuid(word, size):
            return wrong_value(command, option, word, size,
                               "is not a GPU (expected indices from 0 to 1023 or UUIDs, such as 0,3)")
        command.gpus += 1
        if command.gpus > TSF_GPUS:
            return option_error(command, option, "names too many GPUs (at most 1024)", b"")
        if end == NULL:
            return 0
        word = end + 1


cdef int read_memory(Command *command, const Option *option, const char *value) noexcept nogil:
    cdef size_t size = strlen(value)
    if not read_size(value, &command.vram):
        return wrong_value(command, option, value, size, "is not a size of memory (such as 20G, 0.5G or 512M)")
    if command.vram > MAX_MEMORY:
        return wrong_value(command, option, value, size, "is more memory than a GPU can have (less than 1024T)")
    return 0


cdef int read_value(Command *command, const Option *option, const char *value) noexcept nogil:
    cdef uint64_t number = 0
    cdef size_t size = strlen(value)
    if option.kind == ID and strchr(value, c"[") != NULL:
        if read_id_set(command, option, value) < 0:
            return -1
        if not command.has_id:
            return wrong_value(command, option, value, size, "is not one job")
    elif option.kind == ID:
        if not read_number(value, size, MAX_ID, &command.id):
            return wrong_value(command, option, value, size, "is not a job id (a whole number, 0 or more)")
        command.has_id = True
    elif option.kind == ARRAY:
        return read_array(command, option, value)
    elif option.kind == ID_SET:
        return read_selector(command, option, value)
    elif option.kind == IDS:
        if option.does == SET_AFTER:
            return read_ids(command, option, value, &command.after, &command.n_after)
        return read_ids(command, option, value, &command.after_ok, &command.n_after_ok)
    elif option.kind == ID_PAIR:
        return read_pair(command, option, value)
    elif option.kind == COUNT:
        if not read_number(value, size, MAX_SLOTS, &number) or number == 0:
            return wrong_value(command, option, value, size, "is not a number of slots (1 to 1000000)")
        command.number = <uint32_t>number
        command.has_number = True
    elif option.kind == COUNT_OR_0:
        if not read_number(value, size, MAX_SLOTS, &number):
            return wrong_value(command, option, value, size, "is not a number of slots (0 to 1000000)")
        command.slots = <uint32_t>number
    elif option.kind == FORMAT:
        if is_word(value, size, b"default"):
            command.format = FORMAT_DEFAULT
        elif is_word(value, size, b"json"):
            command.format = FORMAT_JSON
        elif is_word(value, size, b"tab"):
            command.format = FORMAT_TAB
        else:
            return wrong_value(command, option, value, size, "is not a format (default, json or tab)")
    elif option.kind == LABEL:
        if size > MAX_LABEL:
            return wrong_value(command, option, value, size, "is too long (at most 65536 bytes)")
        command.label = value if size else NULL
    elif option.kind == NAME:
        if size == 0 or size > MAX_NAME or strchr(value, c"/") != NULL:
            return wrong_value(command, option, value, size, "is not a file name (1 to 200 bytes without a /)")
        command.name = value
    elif option.kind == LOG:
        if size == 0 or size > MAX_LOG or value[size - 1] == c"/":
            return wrong_value(command, option, value, size,
                               "is not the path of a file (1 to 4095 bytes, no / at the end)")
        command.log = value
    elif option.kind == PATH:
        if size == 0:
            return wrong_value(command, option, value, size, "is not a path")
        command.text = value
    elif option.kind == VARIABLE:
        if size == 0 or strchr(value, c"=") != NULL:
            return wrong_value(command, option, value, size, "is not the name of a variable")
        command.text = value
    elif option.kind == ASSIGNMENT:
        if value[0] == c"=" or strchr(value, c"=") == NULL:
            return wrong_value(command, option, value, size, "is not an assignment (such as NAME=VALUE)")
        command.text = value
    elif option.kind == GPU_COUNT:
        return read_gpu_count(command, option, value)
    elif option.kind == GPU_LIST:
        return read_gpu_list(command, option, value)
    elif option.kind == MEMORY:
        return read_memory(command, option, value)
    elif option.kind == PERCENT:
        if not read_number(value, size, 100, &number) or number == 0:
            return wrong_value(command, option, value, size, "is not a percentage (1 to 100)")
        command.number = <uint32_t>number
        command.has_number = True
    elif option.kind == SECONDS:
        if not read_number(value, size, MAX_SECONDS, &number):
            return wrong_value(command, option, value, size, "is not a number of seconds (0 to 1000000)")
        command.number = <uint32_t>number
        command.has_number = True
    elif option.kind == ENV_TEXT:
        if size > ENV_TEXT_MAX:
            return wrong_value(command, option, value, size, "is too long (at most 65536 bytes)")
        command.env_text = value
    return 0
