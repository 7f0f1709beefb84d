"""``omnireid completion``: commands and flags in a shell."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and flags; where a flag takes a value, files are offered.

    Make the script again after an upgrade: it lists the flags of this version.

    Example: omnireid completion bash > ~/.local/share/bash-completion/completions/omnireid

    Example: omnireid completion fish > ~/.config/fish/completions/omnireid.fish

    Args:
        shell: The shell that reads the script.
    """
    import re

    from omnireid.cli import COMMANDS, SUBCOMMANDS, command_words, help_text

    table: dict[str, list[str]] = {"": list(COMMANDS)}
    for group, names in SUBCOMMANDS.items():
        *parent, last = group.split()
        table[group] = list(names)
        if parent:
            table.setdefault(" ".join(parent), []).append(last)
    for words in command_words():
        flags = sorted(set(re.findall(r"(?<!\S)--[a-z][\w-]*", help_text(words))))
        table.setdefault(" ".join(words), []).extend(flags)
    print(_fish(table) if shell == "fish" else _bash(table, shell))


def _bash(table: dict[str, list[str]], shell: str) -> str:
    """A function for bash; zsh understands it through bashcompinit."""
    known = "|".join(f'"{words}"' for words in table if words)
    return "\n".join(
        [
            *(["autoload -U +X bashcompinit && bashcompinit"] if shell == "zsh" else []),
            "_omnireid() {",
            '  local command="" next words="" place current="${COMP_WORDS[COMP_CWORD]}"',
            "  for ((place = 1; place < COMP_CWORD; place++)); do",
            '    next="${command:+$command }${COMP_WORDS[place]}"',
            f'    case "$next" in {known}) command="$next" ;; *) break ;; esac',
            "  done",
            '  case "$command" in',
            *(f'    "{words}") words="{" ".join(follow)}" ;;' for words, follow in table.items()),
            "  esac",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            '  if [[ "$words" == *--* && "$current" != -* ]]; then',
            '    COMPREPLY=($(compgen -W "${words%%--*}" -- "$current") $(compgen -f -- "$current"))',
            "  fi",
            "}",
            "complete -o filenames -F _omnireid omnireid",
        ]
    )


def _fish(table: dict[str, list[str]]) -> str:
    """One line for each command and each flag."""
    lines = [f"complete -c omnireid -f -n __fish_use_subcommand -a '{' '.join(table[''])}'"]
    for words, follow in table.items():
        if not words:
            continue
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words.split())
        names = [word for word in follow if not word.startswith("--")]
        if names:
            listed = " ".join(names)
            lines.append(
                f"complete -c omnireid -f -n '{seen}; and not __fish_seen_subcommand_from {listed}' -a '{listed}'"
            )
        flags = [word.removeprefix("--") for word in follow if word.startswith("--")]
        lines += [f"complete -c omnireid -n '{seen}' -l {flag}" for flag in flags]
    return "\n".join(lines)
