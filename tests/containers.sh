#!/usr/bin/env bash
# Builds both container images without a registry, and tries them: sudo tests/containers.sh [SUITE], default trixie.
# The base image is a tree that debootstrap makes. The committed state of this checkout is what is built.
# Then tests/containers.py runs the router in the network namespace of a lab, with a client and packets, and the
# emulator with a client that finds it. About 5 minutes. Images stay in $UPNP_GW_TREES/containers.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
need_root
need_packages debootstrap=debootstrap podman=podman runc=runc upnpc=miniupnpc

suite=${1:-trixie}
python=${PYTHON:-$ROOT/.venv/bin/python}
[ -x "$python" ] || die "no $python: ./tests/run.sh --quick --setup-only"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Storage of its own, a copy of each layer, no cgroup of systemd, no limits that a container here cannot have.
mkdir -p "$TREES/containers"
export CONTAINERS_CONF=$TREES/containers/containers.conf
printf '[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\n' >"$CONTAINERS_CONF"
podman() {
    command podman --root "$TREES/containers/storage" --runroot /run/upnp-gw-containers --storage-driver vfs "$@"
}

say "$suite: the base image"
base=localhost/upnp-gw-base:$suite
if ! podman image exists "$base"; then
    copy_tree "$suite" "$work/tree"
    rm -rf "$work/tree/srv/upnp-gw"
    changes=()
    [ ! -s "$work/tree/etc/ssl/certs/machine.crt" ] ||
        changes=(--change "ENV PIP_CERT=/etc/ssl/certs/machine.crt" --change "ENV SSL_CERT_FILE=/etc/ssl/certs/machine.crt")
    tar -C "$work/tree" -c . | podman import "${changes[@]}" - "$base" >&2
    rm -rf "$work/tree"
fi

git clone -q --no-hardlinks "$ROOT" "$work/context"
for target in router emulator; do
    say "$suite: the image of the $target"
    podman build --isolation chroot --network host --format docker --build-arg "BASE=$base" --target "$target" \
        --file "$work/context/packaging/container/Containerfile" --tag "localhost/upnp-gw-$target:$suite" \
        "$work/context" >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; die "the $target cannot be built"; }
done
podman image prune -f >/dev/null

say "$suite: both are tried"
cd "$ROOT"
"$python" -m tests.containers "$TREES/containers/storage" "localhost/upnp-gw-router:$suite" \
    "localhost/upnp-gw-emulator:$suite"
