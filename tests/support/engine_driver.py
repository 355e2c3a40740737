"""A process with a local engine and nothing else of a server: `engine_driver.py STATE RUNNER BOOT_ID`. A line on its
standard input is a call, [name, arguments...] in JSON; the line that it answers is what the call gave."""

import json
import os
import sys

from tsfast.engine.local import EngineProbe


def main() -> None:
    state, runner, boot_id = sys.argv[1:]
    probe = EngineProbe(os.open(state, os.O_RDONLY | os.O_DIRECTORY), runner, boot_id)
    # The runners get the descriptors 0 and 1, as they get those of a server: they are not to hold these pipes open.
    calls, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for line in calls:
        name, *arguments = json.loads(line)
        if name == "events":  # the next ones, as soon as there are so many
            (wanted,) = arguments
            while len(probe.events) < wanted:
                probe.turn()
            result = probe.events[:wanted]
            del probe.events[:wanted]
        elif name == "refuse":
            (probe.refusals,) = arguments
            result = None
        else:
            if name == "start":
                arguments[-1] = bytes.fromhex(arguments[-1])
            result = getattr(probe, name)(*arguments)
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
