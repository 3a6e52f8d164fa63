"""The servers of the LAN: sockets, deadlines, limits, timers. They use the codecs of ``protocols``, decide nothing.

lan             starts and stops all servers
http, ssdp, port5351
udp             what SSDP and port 5351 share
identity        UUID, URL token and BOOTID over restarts
wire            the classes that meet the LAN: a router's, or the emulator's
context         what all servers read of the gateway
logged_counter, timer
"""
