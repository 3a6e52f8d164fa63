"""The services of the Internet Gateway Device, one module each: arguments -> answer, fault or request.

``model`` has the actions and arguments that the service descriptions declare, ``arguments`` makes typed values of
text, ``faults`` has every error code, ``engine`` finds and runs an action. A new service needs a module of rows, a
description in ``descriptors/``, a line in ``services`` and one in ``protocols.igd_services``.
"""
