# Completion of ts for fish. Written by share/build.py.

function __ts_jobs --description 'ids of the jobs, with their states, labels and commands'
    set -l program (commandline -opc)[1]
    command $program -M tab 2>/dev/null | while read -l -d \t id state output level time unit after label line
        test -n "$label"; and set label "[$label]"
        printf '%s\t%s %s%s\n' $id $state "$label" "$line"
    end
end

function __ts_job_list --description 'the same, as the end of a list'
    set -l before (string match -r '^.*[,-]' -- (commandline -ct))
    for job in (__ts_jobs)
        echo "$before$job"
    end
end

function __ts_in_options --description 'no word of a command is there yet'
    set -l words (commandline -opc)[2..-1]
    set -l with_argument @WITH_ARGUMENT@
    while set -q words[1]
        if test "$words[1]" = --
            return 1
        else if contains -- $words[1] $with_argument
            set -e words[1]
        else if not string match -q -- '-?*' $words[1]
            return 1
        end
        set -e words[1]
    end
    return 0
end

complete -c ts -x -a '(__fish_complete_subcommand -- @WITH_ARGUMENT@)'
@OPTIONS@
