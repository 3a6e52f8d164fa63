"""The configuration: TOML file and options to a frozen ``Config``, and detection of interfaces."""
