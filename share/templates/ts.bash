# Completion of ts, tsp and tsfast for bash. Written by share/build.py.

# What the argument of an option is.
_ts_argument()
{
    local word=$1
    # of a cluster, the last letter can take one
    [[ $word =~ ^-[@LETTERS@]+([a-zA-Z])$ ]] && word=-${BASH_REMATCH[1]}
    case $word in
@CASES@
    esac
}

# The options of a command that only tsfast has.
_ts_options_of()
{
    case $1 in
@COMMAND_CASES@
    esac
}

# The jobs as candidates for $1, which may be the end of a list of ids; with their commands where they are only shown.
_ts_jobs()
{
    local before= id state label command
    [[ $1 == *[,-]* ]] && before=${1%"${1##*[,-]}"}
    while IFS=$'\x1f' read -r id state _ _ _ _ _ label command; do
        [[ $before$id == "$1"* ]] && COMPREPLY+=("$before$id")
        [[ $before$id == "$1"* ]] && shown+=("$before$id  ($state) ${label:+[$label]}$command")
    done < <("$program" -M tab 2>/dev/null | tr '\t' '\037')
    ((COMP_TYPE == 63 && ${#shown[@]} > 1)) && COMPREPLY=("${shown[@]}")
    return 0
}

_ts()
{
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} option= kind= i=1
    local shown=()
    COMPREPLY=()
    if [[ ${program##*/} == tsfast ]]; then
        if ((COMP_CWORD == 1)) && [[ $current != -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W '@COMMANDS@' -c -- "$current")
            return 0
        elif ((COMP_CWORD > 1)) && [[ " @COMMANDS@ " == *" ${COMP_WORDS[1]} "* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(_ts_options_of "${COMP_WORDS[1]}")" -- "$current")
            return 0
        fi
    fi
    while ((i < COMP_CWORD)); do
        option=${COMP_WORDS[i]}
        [[ $option == -?* ]] || break
        ((i++))
        [[ $option == -- ]] && break
        kind=$(_ts_argument "$option")
        [[ $kind ]] || continue
        [[ ${COMP_WORDS[i]} == = ]] && ((i < COMP_CWORD)) && ((i++))
        if ((i >= COMP_CWORD)); then
            [[ $current == = ]] && current=
            case $kind in
                job | jobs) _ts_jobs "$current" ;;
                format) mapfile -t COMPREPLY < <(compgen -W 'default json tab' -- "$current") ;;
                file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
                directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
            esac
            return 0
        fi
        ((i++))
    done
    if ((i >= COMP_CWORD)) && [[ $current == -* && $option != -- ]]; then
        mapfile -t COMPREPLY < <(compgen -W '@OPTIONS@' -- "$current")
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i >= COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
    return 0
}

complete -F _ts ts tsp tsfast
