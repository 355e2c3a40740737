#compdef ts tsp tsfast
# Written by share/build.py.

_ts_jobs() {
    local -a known fields
    local line
    for line in ${(f)"$(_call_program jobs $_ts_program -M tab 2>/dev/null)"}; do
        fields=("${(@ps:\t:)line}")
        known+=("$fields[1]:$fields[2] ${fields[8]:+[$fields[8]]}$fields[9]")
    done
    _describe -t jobs job known "$@"
}

_ts_job_list() {
    compset -P '*[,-]'
    _ts_jobs -S ''
}

local _ts_program=$words[1]
_arguments -s -S -A '-*' \
@OPTIONS@ \
    '(-):command: _command_names -e' \
    '*::arguments: _normal'
