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
if [[ $service == tsfast ]]; then
    local -a of_tsfast
    of_tsfast=(
@COMMANDS@
    )
    if ((CURRENT > 2)) && ((${of_tsfast[(I)$words[2]:*]})); then
        shift words
        ((CURRENT--))
        case $words[1] in
@COMMAND_CASES@
        esac
        return
    fi
    ((CURRENT == 2)) && [[ $words[2] != -* ]] && _describe -t commands command of_tsfast
fi
_arguments -s -S -A '-*' \
@OPTIONS@ \
    '(-):command: _command_names -e' \
    '*::arguments: _normal'
