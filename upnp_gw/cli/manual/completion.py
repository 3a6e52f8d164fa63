"""Completion for bash, zsh and fish, as click makes it: the scripts ask ``upnp-gw`` itself at each Tab.

So they have every command and option of the installed version, and names that the running gateway knows.
"""

from pathlib import PurePosixPath

from click.shell_completion import get_completion_class

from upnp_gw.cli import main
from upnp_gw.cli.manual.commands import PROGRAM

VARIABLE = "_UPNP_GW_COMPLETE"
DIRECTORIES = {
    "bash": PurePosixPath("share/bash-completion/completions/upnp-gw"),
    "zsh": PurePosixPath("share/zsh/site-functions/_upnp-gw"),
    "fish": PurePosixPath("share/fish/vendor_completions.d/upnp-gw.fish"),
}
"""Shell -> the place of its script below a prefix. Debian's zsh reads ``site-functions`` below /usr/local alone."""
DEBIAN_ZSH = PurePosixPath("share/zsh/vendor-completions/_upnp-gw")


def completion_script(shell: str) -> str:
    """The script for a shell of ``DIRECTORIES``. Raises LookupError for another one."""
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    made = kind(main, {}, PROGRAM, VARIABLE)
    # not made.source(): for bash it starts a bash to look at its version, and click's script does so again
    return (made.source_template % made.source_vars()).strip() + "\n"
