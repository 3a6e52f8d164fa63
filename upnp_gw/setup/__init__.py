"""Sets a machine up as a gateway: what it is, what is proposed, the files, and the commands that follow.

machine      reads the machine: interfaces, firewalls, service; before and while the daemon runs
interfaces   proposes WAN and LANs, and says where it is in doubt; pure
firewalls    names the firewalls of the machine; proposes a place beside them or as the firewall; pure
answers      the answers to the five questions, and the words for them; pure
documents    answers -> texts of the configuration and the policy; pure
system_files the closed table, the part of the unit for mode "router", sysctls; pure
service      state of the units -> commands of systemd; pure
files        shows the changes and writes all files or none, with copies of those that were there
"""
