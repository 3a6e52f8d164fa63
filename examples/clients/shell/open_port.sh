#!/bin/sh
# Opens a TCP port of this host on the router: over NAT-PMP, else over UPnP IGD. Run it again to renew the lease.
#
#     open_port.sh GATEWAY LOCATION HOST PORT
#
# GATEWAY: the router's address; LOCATION: the URL of its UPnP description; HOST: this host's address on the LAN.
# Prints the external address and port. Exit code 1: the router refuses; 3: its external address is private.
set -eu
gateway=$1 location=$2 host=$3 port=$4 lease=3600

finish() { # ADDRESS PORT
    echo "$1 $2"
    case $1 in
    "" | 0.0.0.0 | 10.* | 192.168.* | 172.1[6-9].* | 172.2?.* | 172.3[01].* | 100.6[4-9].* | 100.[7-9]?.* | 100.1[01]?.* | 100.12[0-7].*)
        exit 3
        ;;
    esac
    exit 0
}

if answer=$(natpmpc -g "$gateway" -a "$port" "$port" tcp $lease 2>&1); then
    external=$(echo "$answer" | sed -n 's/^Mapped public port \([0-9]*\) .*/\1/p')
    finish "$(echo "$answer" | sed -n 's/^Public IP address : //p')" "$external"
fi

external=$port
while [ "$external" -lt $((port + 10)) ]; do
    answer=$(upnpc -u "$location" -a "$host" "$port" "$external" tcp $lease 2>&1) || true
    case $answer in
    *"failed with code 718"*) external=$((external + 1)) ;;
    *"failed with code 725"*)
        [ $lease != 0 ] || break
        lease=0
        ;;
    *"is redirected to internal"*)
        finish "$(echo "$answer" | sed -n 's/^ExternalIPAddress = //p')" "$external"
        ;;
    *) break ;;
    esac
done
echo "$answer" >&2
exit 1
