"""Writes the manual page, the completions of bash, zsh and fish, and docs/options.md from the one option table, that of
the commands of `tsfast`, and share/templates.

`python share/build.py` after a change of either; a test compares what lies here with what would be written. They are
kept in the repository since the table is compiled: a wheel can be built without running what it contains.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tsfast.cli.commands import COMMANDS, Command, Option
from tsfast.grammar.options import options

HERE = Path(__file__).parent
NAMES = ("ts", "tsp", "tsfast")


def rows() -> list[dict]:
    return options()


def spellings(row: dict) -> list[str]:
    letter = [f"-{row['letter']}"] if row["letter"] else []
    return letter + ([f"--{row['name']}"] if row["name"] else [])


def completes(row: dict) -> str:
    """What its argument is, in one word of the templates; nothing: it takes none."""
    operand = row["operand"].strip("[]")
    known = {"ID": "job", "IDS": "jobs", "ID,...": "jobs", "ID-ID": "jobs", "FMT": "format", "PATH": "directory",
             "FILE": "file"}  # fmt: skip
    return known.get(operand, "text") if operand else ""


def template(name: str, **values: str) -> str:
    text = (HERE / "templates" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# ---- the manual page ----


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in ("'", ".") else text


def manual_options(actions: bool) -> str:
    lines: list[str] = []
    group = ""
    for row in rows():
        if row["action"] != actions:
            continue
        if actions and row["group"] != group:
            group = row["group"]
            lines.append(f".SS {group}")
        names = [f"\\fB{roff(name)}\\fR" for name in spellings(row)]
        operand = f" \\fI{roff(row['operand'])}\\fR" if row["operand"] else ""
        lines += [".TP", ", ".join(names) + operand, roff(sentence(row["help"]))]
        if row["without"]:
            lines.append(f"Without an id: {row['without']}.")
    return "\n".join(lines)


def manual_commands() -> str:
    lines: list[str] = []
    for name, command in COMMANDS.items():
        lines += [".TP", f"\\fBtsfast {roff(name)}\\fR", roff(sentence(command.help))]
        if command.options:
            lines.append(".RS")
            for one in command.options:
                operand = f" \\fI{one.operand}\\fR" if one.operand else ""
                lines += [".TP", f"\\fB{roff('--' + one.name)}\\fR{operand}", roff(sentence(one.help))]
            lines.append(".RE")
    return "\n".join(lines)


def manual() -> str:
    return template("ts.1", OPTIONS=manual_options(False), ACTIONS=manual_options(True), COMMANDS=manual_commands())


# ---- completions ----


def command_options(command: Command) -> list[str]:
    return [f"--{one.name}" for one in command.options]


def quoted_for_zsh(text: str) -> str:
    return text.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:").replace("'", "'\\''")


def bash() -> str:
    kinds: dict[str, list[str]] = {"": [], "job": [], "jobs": [], "format": [], "directory": [], "file": [], "text": []}
    for row in rows():
        kinds[completes(row)] += spellings(row)
    letters = "".join(row["letter"] for row in rows() if not row["operand"])
    cases = [f"        {' | '.join(names)}) echo {kind} ;;" for kind, names in kinds.items() if kind and names]
    words = " ".join(name for row in rows() for name in spellings(row))
    own = [f"        {name}) echo '{' '.join(command_options(command))}' ;;" for name, command in COMMANDS.items()]
    return template(
        "ts.bash", CASES="\n".join(cases), LETTERS=letters, OPTIONS=words, COMMANDS=" ".join(COMMANDS),
        COMMAND_CASES="\n".join(own),
    )  # fmt: skip


def zsh() -> str:
    actions = {"job": ":job:_ts_jobs", "jobs": ":jobs:_ts_job_list", "format": ":format:(default json tab)",
               "directory": ":directory:_directories", "file": ":file:_files", "text": ":value: ", "": ""}  # fmt: skip
    lines = []
    for row in rows():
        action = actions[completes(row)]
        for name in spellings(row):
            # `+`: the argument follows in this word or the next, `=`: likewise for long names
            joined = "" if not action else "=" if name.startswith("--") else "+"
            lines.append(f"    '{name}{joined}[{quoted_for_zsh(row['help'])}]{action}'")
    known = [f"        '{name}:{quoted_for_zsh(command.help)}'" for name, command in COMMANDS.items()]
    own = []
    for name, command in COMMANDS.items():
        words = [f"'{zsh_option(command, one)}'" for one in command.options]
        own.append(f"            {name}) _arguments {' '.join(words)} ;;")
    return template("ts.zsh", OPTIONS=" \\\n".join(lines), COMMANDS="\n".join(known), COMMAND_CASES="\n".join(own))


def zsh_option(command: Command, one: Option) -> str:
    others = f"({' '.join(command_options(command))})" if command.exclusive else ""
    operand = f"=[{quoted_for_zsh(one.help)}]:{one.operand}: " if one.operand else f"[{quoted_for_zsh(one.help)}]"
    return f"{others}--{one.name}{operand}"


def fish() -> str:
    actions = {"job": " -x -a '(__ts_jobs)'", "jobs": " -x -a '(__ts_job_list)'",
               "format": " -x -a 'default json tab'", "directory": " -x -a '(__fish_complete_directories)'",
               "file": " -r",
               "text": " -x", "": ""}  # fmt: skip
    lines = []
    for row in rows():
        names = (f" -s {row['letter']}" if row["letter"] else "") + (f" -l {row['name']}" if row["name"] else "")
        text = row["help"]
        lines.append(f"complete -c ts -n __ts_in_options{names}{actions[completes(row)]} -d '{fish_quoted(text)}'")
    with_argument = " ".join(name for row in rows() if row["operand"] for name in spellings(row))
    return template("ts.fish", OPTIONS="\n".join(lines), WITH_ARGUMENT=with_argument)


def fish_of_tsfast() -> str:
    lines = ["# Completion of tsfast for fish. Written by share/build.py.", "", "function __tsfast_behind"]
    lines += ["    set -l words (commandline -opc)", '    test "$words[2]" = $argv[1]', "end", ""]
    lines.append("complete -c tsfast -w ts")
    for name, command in COMMANDS.items():
        lines.append(f"complete -c tsfast -n __fish_is_first_arg -a {name} -d '{fish_quoted(command.help)}'")
        for one in command.options:
            takes = " -x" if one.operand else ""
            where = f"-n '__tsfast_behind {name}'"
            lines.append(f"complete -c tsfast {where} -l {one.name}{takes} -d '{fish_quoted(one.help)}'")
    return "\n".join(lines) + "\n"


def fish_quoted(text: str) -> str:
    return text.replace("'", "\\'")


# ---- the page of the documentation ----


def markdown() -> str:
    lines = [
        "# All options",
        "",
        "This page is written by `make share` from the table that `ts` reads its words with. What the options do",
        "exactly stands in [the command line](cli.md). An argument in brackets can be left out where the option is the",
        "last word.",
    ]
    group = ""
    for row in rows():
        if row["group"] != group:
            group = row["group"]
            lines += ["", f"## {group}", "", "| option | argument | |", "| --- | --- | --- |"]
        text = row["help"]
        if row["without"]:
            text += f" (without: {row['without']})"
        names = ", ".join(f"`{name}`" for name in spellings(row))
        operand = f"`{row['operand']}`" if row["operand"] else ""
        lines.append(f"| {names} | {operand} | {text} |")
    lines += ["", "## Commands of tsfast", "", "`tsfast` takes the words of `ts`, and these:", ""]
    lines += ["| command | option | |", "| --- | --- | --- |"]
    for name, command in COMMANDS.items():
        lines.append(f"| `tsfast {name}` | | {command.help} |")
        for one in command.options:
            lines.append(f"| | `--{one.name}{' ' + one.operand if one.operand else ''}` | {one.help} |")
    return "\n".join(lines) + "\n"


FILES: dict[str, Callable[[], str]] = {
    "man/man1/ts.1": manual,
    "bash-completion/completions/ts": bash,
    "zsh/site-functions/_ts": zsh,
    "fish/vendor_completions.d/ts.fish": fish,
    **{f"man/man1/{name}.1": lambda: ".so man1/ts.1\n" for name in NAMES[1:]},
    **{f"bash-completion/completions/{name}": lambda: '. "${BASH_SOURCE[0]%/*}/ts"\n' for name in NAMES[1:]},
    "fish/vendor_completions.d/tsp.fish": lambda: "complete -c tsp -w ts\n",
    "fish/vendor_completions.d/tsfast.fish": fish_of_tsfast,
}
PAGES: dict[str, Callable[[], str]] = {"../docs/options.md": markdown}  # not installed


def main() -> int:
    for name, make in {**FILES, **PAGES}.items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
