"""Tab, in real shells."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import at_terminal
from tests.gateway.daemons import FakeDaemon


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, daemon: FakeDaemon) -> dict[str, str]:
    """An environment with `carlactl` on the path and the daemon as its default."""
    scripts = tmp_path_factory.mktemp("bin")
    command = scripts / "carlactl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m carlad.cli "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "CARLAD_ENDPOINT": daemon.endpoint}


COMPLETIONS = [
    ("carlactl sta", {"status"}),
    ("carlactl lease --m", {"--map"}),
    ("carlactl logs ", {"0", "1"}),
    ("carlactl config ", {"check", "show"}),
    ("carlactl sessions ", {"close"}),
    ("carlactl lease --map T", {"Town01"}),
]


@pytest.mark.parametrize(("line", "words"), COMPLETIONS)
def test_bash_completes(shell: dict[str, str], line: str, words: set[str]) -> None:
    script = f"""eval "$(carlactl completion bash)"
        COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; read -ra COMP_WORDS <<< "$COMP_LINE"
        [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _shtab_carlactl carlactl "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    said = subprocess.check_output(["bash", "-c", script], text=True, env=shell, timeout=20)
    assert words <= set(said.split())


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
@pytest.mark.parametrize(("line", "words"), COMPLETIONS)
def test_zsh_completes(shell: dict[str, str], line: str, words: set[str], tmp_path: Path) -> None:
    """In a terminal, as zsh completes nowhere else: Ctrl-D lists what may follow, Tab completes one."""
    (tmp_path / ".zshrc").write_text(
        "PS1='prepared> '; autoload -Uz compinit; compinit -u -D; unsetopt beep\n"
        'eval "$(carlactl completion zsh)"\n'
    )
    assert words <= set(_typed_into_zsh(line, {**shell, "ZDOTDIR": str(tmp_path), "TERM": "dumb"}))


def _typed_into_zsh(line: str, environment: dict[str, str]) -> list[str]:
    """The words on the terminal after Tab."""
    with at_terminal(["zsh", "-i"], environment) as terminal:
        terminal.read_until("prepared> ")
        terminal.type(f"{line}\t\x04")
        terminal.type("\x15print -r -- done${:-}it\n")
        return terminal.read_until("doneit").split()
