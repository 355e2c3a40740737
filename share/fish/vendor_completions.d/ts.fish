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
    set -l with_argument -O --log -D -W -L -N -G --gpus --vram -g --gpu_indices --batch --array -M --serialize -s -i --why -F --full_cmd -a --get_label -o -p -t -c -w -S -u -U -r -k --cancel --set_logdir --getenv --setenv --unsetenv --set_gpu_free_perc --set_gpu_wait
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

complete -c ts -x -a '(__fish_complete_subcommand -- -O --log -D -W -L -N -G --gpus --vram -g --gpu_indices --batch --array -M --serialize -s -i --why -F --full_cmd -a --get_label -o -p -t -c -w -S -u -U -r -k --cancel --set_logdir --getenv --setenv --unsetenv --set_gpu_free_perc --set_gpu_wait)'
complete -c ts -n __ts_in_options -s n -d 'do not store the output, print no id'
complete -c ts -n __ts_in_options -s f -d 'stay in the foreground (-nf: with this terminal)'
complete -c ts -n __ts_in_options -s z -d 'compress the stored output'
complete -c ts -n __ts_in_options -s E -d 'store stderr in a second file (.e)'
complete -c ts -n __ts_in_options -s O -x -d 'call the output file NAME.XXXXXX'
complete -c ts -n __ts_in_options -l log -x -a '(__fish_complete_directories)' -d 'exactly this output file (also: --append, --truncate)'
complete -c ts -n __ts_in_options -l append -d 'with --log: append to an existing file'
complete -c ts -n __ts_in_options -l truncate -d 'with --log: empty an existing file'
complete -c ts -n __ts_in_options -s m -d 'mail the result'
complete -c ts -n __ts_in_options -s d -d 'run it after the job added last'
complete -c ts -n __ts_in_options -s D -x -a '(__ts_job_list)' -d 'run it after these, however they end'
complete -c ts -n __ts_in_options -s W -x -a '(__ts_job_list)' -d 'run it only if all of these succeed'
complete -c ts -n __ts_in_options -s L -x -d 'label shown in the list'
complete -c ts -n __ts_in_options -s N -x -d 'number of slots it takes (1)'
complete -c ts -n __ts_in_options -s G -l gpus -x -d 'GPUs, or a share of one: 0.5 (--vram 20G: by memory)'
complete -c ts -n __ts_in_options -l vram -x -d 'this much memory of each GPU, which it may share'
complete -c ts -n __ts_in_options -s g -l gpu_indices -x -d 'these GPUs, free or not; alone: which job has which'
complete -c ts -n __ts_in_options -l batch -r -d 'queue each line of FILE (-: stdin); print the ids'
complete -c ts -n __ts_in_options -l array -x -d 'jobs for {} = 1 to 100, at most 8 at once: 1-100%8'
complete -c ts -n __ts_in_options -s B -d 'exit with 2 at once if the queue is full'
complete -c ts -n __ts_in_options -s l -d 'list of the jobs'
complete -c ts -n __ts_in_options -s M -l serialize -x -a 'default json tab' -d 'list of the jobs as default, json or tab'
complete -c ts -n __ts_in_options -s s -x -a '(__ts_job_list)' -d 'state of the job'
complete -c ts -n __ts_in_options -s i -x -a '(__ts_job_list)' -d 'everything known about the job'
complete -c ts -n __ts_in_options -l why -x -a '(__ts_job_list)' -d 'what it waits for, or why it ended'
complete -c ts -n __ts_in_options -s F -l full_cmd -x -a '(__ts_jobs)' -d 'its whole command'
complete -c ts -n __ts_in_options -s a -l get_label -x -a '(__ts_jobs)' -d 'its label'
complete -c ts -n __ts_in_options -s o -x -a '(__ts_jobs)' -d 'path of its output file'
complete -c ts -n __ts_in_options -s p -x -a '(__ts_jobs)' -d 'its process id'
complete -c ts -n __ts_in_options -s q -l last_queue_id -d 'id of the job added last'
complete -c ts -n __ts_in_options -s R -l count_running -d 'how many jobs run'
complete -c ts -n __ts_in_options -s t -x -a '(__ts_jobs)' -d 'last lines of its output; follow it until it ends'
complete -c ts -n __ts_in_options -s c -x -a '(__ts_jobs)' -d 'all of its output; follow it until it ends'
complete -c ts -n __ts_in_options -s w -x -a '(__ts_job_list)' -d 'wait until they have ended (--wait-all: all jobs)'
complete -c ts -n __ts_in_options -l wait-all -d 'wait for all jobs that are queued or run now'
complete -c ts -n __ts_in_options -s S -x -d 'show or set the number of slots'
complete -c ts -n __ts_in_options -s u -x -a '(__ts_job_list)' -d 'start this one next'
complete -c ts -n __ts_in_options -s U -x -a '(__ts_job_list)' -d 'swap two queued jobs'
complete -c ts -n __ts_in_options -s r -x -a '(__ts_job_list)' -d 'remove a job that does not run'
complete -c ts -n __ts_in_options -s k -x -a '(__ts_job_list)' -d 'send SIGTERM to a running job (-T: to all that run)'
complete -c ts -n __ts_in_options -l cancel -x -a '(__ts_job_list)' -d 'take it out of the queue, or end all its processes'
complete -c ts -n __ts_in_options -s T -d 'send SIGTERM to all running jobs'
complete -c ts -n __ts_in_options -s C -d 'forget the jobs that have ended'
complete -c ts -n __ts_in_options -l get_logdir -d 'show where new output files go'
complete -c ts -n __ts_in_options -l set_logdir -x -a '(__fish_complete_directories)' -d 'where new output files go (--get_logdir shows it)'
complete -c ts -n __ts_in_options -l getenv -x -d 'the server\'s environment (also: --setenv, --unsetenv)'
complete -c ts -n __ts_in_options -l setenv -x -d 'set a variable of the server'
complete -c ts -n __ts_in_options -l unsetenv -x -d 'unset a variable of the server'
complete -c ts -n __ts_in_options -l get_gpu_free_perc -d 'show how much free memory makes a GPU free'
complete -c ts -n __ts_in_options -l set_gpu_free_perc -x -d 'free memory of a free GPU in % (--set_gpu_wait)'
complete -c ts -n __ts_in_options -l get_gpu_wait -d 'show the pause after the start of a GPU job'
complete -c ts -n __ts_in_options -l set_gpu_wait -x -d 'pause between the starts of GPU jobs'
complete -c ts -n __ts_in_options -s K -d 'stop the server and drop the queue'
complete -c ts -n __ts_in_options -s h -l help -d 'this text (-V, --version: the version)'
complete -c ts -n __ts_in_options -s V -l version -d 'the version'
