"""A system installation: the files of the service, for packages and for this machine.

service_files   units, users and sysctls, from examples/systemd
"""
