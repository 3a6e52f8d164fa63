"""The machine that the gateway runs on.

network_monitor    follows links, addresses and LAN neighbours; made of the modules below
rtnetlink          parses the kernel's messages; ``rtnetlink_socket`` and ``netlink`` are its sockets
link_state         the ``Network`` made of links and addresses
neighbour_table    the kernel's neighbour entries, and probes of single hosts
address_holders    finds out which host has an address: asks all hosts of the link
address_contests   asks again while several hosts claim an address
address_query      one query "who has this address?"; ``who_has``: its sockets, ``neighbour_messages``: its packets
neighbour_events   what these modules report
listening_ports    the ports of the gateway itself; ``sock_diag`` asks the kernel
dhcp_lease_files   leases of DHCP servers
wan_counters       traffic and bit rate of the WAN
files              opens files safely; ``shipped_files``: those that come with the program
privileges         gives up root; ``owners``: acts as the owner of a directory
state_lock         one process at a time writes to the state directory
process            the garbage collector at the start, and the end of the process
worker             a thread that runs calls in order; ``fair_lock``: for two threads
without_openssl    keeps OpenSSL out of the process
log_lines          the log of a process, as text or JSON lines
clock, signals, sd_notify, send_queue, socket_filter, tasks
"""
