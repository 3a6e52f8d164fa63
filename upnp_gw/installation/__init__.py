"""A system installation: the files of the service, for packages and for this machine.

service_files     units, users and sysctls, from examples/systemd
own_environment   copies the program below /opt
machine           what is there already
steps             the changes of ``upnp-gw install``, one by one
programs          starts the programs that the operator said yes to; nothing else in upnp-gw starts one
"""
