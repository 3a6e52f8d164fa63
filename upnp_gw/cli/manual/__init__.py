"""The manual, made from the program: man pages and shell completions.

    commands      every command with its options, as ``--help`` shows them
    roff          text as roff, for man and mandoc
    command_pages upnp-gw(1), and a page for each command
    file_pages    upnp-gw.toml(5) and upnp-gw-policy(5)
    completion    scripts for bash, zsh and fish
    files         all of these with their paths below a prefix

The keys of the configuration come from ``config.reference``, those of the policy from ``gate.meanings``.
"""
