"""The services of the Internet Gateway Device, one module each: arguments -> answer, fault or request.

``model`` holds the actions and arguments that the service descriptions declare, ``arguments`` turns text into typed
values, ``faults`` knows every code, ``engine`` finds the row of an action and runs it. Another service is one
module of rows, one description in ``descriptors/``, one line in ``services`` and one in ``protocols.faces``.
"""
