# Completion of tsfast for fish. Written by share/build.py.

function __tsfast_behind
    set -l words (commandline -opc)
    test "$words[2]" = $argv[1]
end

complete -c tsfast -w ts
complete -c tsfast -n __fish_is_first_arg -a gpus -d 'show the GPUs of the machine, and the holder of each'
complete -c tsfast -n '__tsfast_behind gpus' -l json -d 'as a JSON array'
complete -c tsfast -n '__tsfast_behind gpus' -l gpus -x -d 'free for a job of -G NUM'
complete -c tsfast -n '__tsfast_behind gpus' -l vram -x -d 'free for a job of --vram SIZE'
complete -c tsfast -n '__tsfast_behind gpus' -l timeout -x -d 'patience with each answer of NVML (10 s; 60 s while it starts)'
complete -c tsfast -n __fish_is_first_arg -a events -d 'show each change of a job as it happens, one per line'
complete -c tsfast -n '__tsfast_behind events' -l json -d 'as one JSON object a line'
complete -c tsfast -n '__tsfast_behind events' -l since -x -d 'begin after this event (1: with the oldest known)'
complete -c tsfast -n __fish_is_first_arg -a doctor -d 'check the installation, the queue and the machine, and give advice'
complete -c tsfast -n '__tsfast_behind doctor' -l json -d 'as a JSON array'
complete -c tsfast -n '__tsfast_behind doctor' -l strict -d 'exit with 1 for warnings too'
complete -c tsfast -n '__tsfast_behind doctor' -l timeout -x -d 'time for each check (10 s; longer for GPUs that have to wake up)'
complete -c tsfast -n __fish_is_first_arg -a stop -d 'stop the server, but keep the queue; running jobs continue, and the next call starts a server'
complete -c tsfast -n '__tsfast_behind stop' -l timeout -x -d 'how long to wait for its end (10 s)'
complete -c tsfast -n __fish_is_first_arg -a install-service -d 'let systemd keep a server for the queue, across logout and reboot'
complete -c tsfast -n '__tsfast_behind install-service' -l print -d 'only show the unit'
complete -c tsfast -n '__tsfast_behind install-service' -l uninstall -d 'stop the service and remove the unit; the queue stays'
complete -c tsfast -n __fish_is_first_arg -a serve -d 'run the server of the queue in the foreground; SIGTERM stops it and keeps the queue'
complete -c tsfast -n '__tsfast_behind serve' -l after -d 'what the service runs after it: SIGTERM to the jobs if the machine goes down'
