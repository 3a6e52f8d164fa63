# Sourced by examples/demo.sh and tests/run.sh: makes a fresh Debian 12/13 or Ubuntu 24.04 ready for them.
# Needs git, python3 and apt there; root or sudo only where a package is missing. Safe to run twice, and quick then.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
# an ordinary user's PATH has no sbin, where ip, nft and conntrack are
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# A Python that is new enough and can make a virtual environment, or nothing. The system's comes first: one in root's
# own home cannot be run by the user that the daemon becomes.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" /usr/bin/python3 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

# no pipe: with pipefail a grep that has seen enough would fail it
has_library() { [[ $(ldconfig -p 2>/dev/null) == *"$1"* ]]; }
has_module() { /usr/bin/python3 -c "import $1" 2>/dev/null; }

# Which Debian packages are missing for: product, tests. One a line.
missing_packages() {
    [ -n "$(find_python)" ] || echo python3-venv
    has_library libnftables.so.1 || echo libnftables1
    command -v nft >/dev/null || echo nftables
    has_module nftables || echo python3-nftables
    command -v ip >/dev/null || echo iproute2
    [ "$1" != product ] || return 0
    [ -e /etc/protocols ] || echo netbase # the tests' own rules name protocols; the gateway's do not
    command -v upnpc >/dev/null || echo miniupnpc
    command -v natpmpc >/dev/null || echo natpmpc
    command -v curl >/dev/null || echo curl
    command -v node >/dev/null || echo nodejs
    command -v iptables-nft >/dev/null || echo iptables
    command -v conntrack >/dev/null || echo conntrack
    command -v sysctl >/dev/null || echo procps
    command -v tshark >/dev/null || echo tshark
    command -v mandoc >/dev/null || echo mandoc # the man pages; zsh and fish: the completions
    command -v zsh >/dev/null || echo zsh
    command -v fish >/dev/null || echo fish
    has_module miniupnpc || echo python3-miniupnpc
    # its package starts a service where systemd runs: there its test is skipped
    command -v transmission-daemon >/dev/null || [ -d /run/systemd/system ] || echo transmission-daemon
    # the page in a real browser: 110 MB to fetch, 370 MB on the disk, 15 seconds
    command -v chromium >/dev/null || echo chromium
    command -v chromedriver >/dev/null || echo chromium-driver
}

install_packages() {
    local missing as_root=()
    mapfile -t missing < <(missing_packages "$1")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing here, and there is no apt to get them: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "packages are missing. As root: apt-get update && apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "Debian packages: ${missing[*]}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}"
    mapfile -t missing < <(missing_packages "$1")
    [ ${#missing[@]} = 0 ] || die "still missing after apt-get: ${missing[*]}"
}

# Debian's promtool for the tests of metrics, in .venv/bin. It is a package of its own since Debian 13. Before, it is in
# prometheus (19 MB, which would start a service and bring ten others). Only the binary is unpacked: 48 MB, 3 seconds.
install_promtool() {
    ! command -v promtool >/dev/null || return 0
    [ ! -x "$VENV/bin/promtool" ] || return 0
    local directory package=prometheus
    ! apt-cache show promtool >/dev/null 2>&1 || package=promtool
    directory=$(mktemp -d)
    say "promtool, from Debian's package $package"
    (
        cd "$directory"
        apt-get download -qq -o APT::Sandbox::User=root "$package" >&2 || die "apt-get could not download: $package"
        dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x ./usr/bin/promtool
    )
    install -m 755 "$directory/usr/bin/promtool" "$VENV/bin/promtool"
    rm -r "$directory"
}

# Debian's firewalls and WireGuard for the tests of the guides, and miniupnpd, unpacked in .venv/unpacked and not
# installed: their services would start on this machine. The tests of the guides put them over /usr in a namespace.
# 2 MB to fetch, 5 seconds; what they need besides comes along where it is missing here.
UNPACKED="ufw firewalld dbus-daemon wireguard-tools wireguard-go dnsmasq-base miniupnpd-nftables"
install_unpacked() {
    local tree=$VENV/unpacked package directory
    [ "$(cat "$tree/packages" 2>/dev/null)" != "$UNPACKED" ] || return 0
    say "Debian packages, unpacked in .venv/unpacked: $UNPACKED"
    rm -rf "$tree"
    directory=$(mktemp -d)
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends --download-only -o APT::Sandbox::User=root -o Debug::NoLocking=1 \
        -o Dir::Cache::archives="$directory" $UNPACKED >&2 || die "apt-get could not download: $UNPACKED"
    mkdir -p "$tree"/usr/{bin,sbin,lib}
    ln -s usr/bin usr/sbin usr/lib "$tree"
    for package in "$directory"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$tree" --keep-directory-symlink --no-same-owner
    done
    rm -r "$directory"
    echo "$UNPACKED" >"$tree/packages"
}

# What .venv/.upnp-gw-FILE holds when that requirements file is installed as it now is.
stamp() { (cd "$ROOT" && cat .ci/requirements.txt ".ci/$1" pyproject.toml && echo "$ROOT") | sha256sum; }
installed() { "$VENV/bin/python" -c "" 2>/dev/null && [ "$(cat "$VENV/.upnp-gw-$1" 2>/dev/null)" = "$(stamp "$1")" ]; }

# The virtual environment with requirements file $1 and the project itself, editable.
install_python() {
    local requirements=$1 python version
    if ! "$VENV/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$(find_python)
        say "Python packages: a virtual environment in .venv, from $python"
        "$python" -m venv --clear "$VENV"
    fi
    version=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    ! installed "$requirements" || return 0
    say "Python packages: $requirements, pinned with hashes, for Python $version"
    (
        cd "$ROOT"
        pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
        if ! pip install --require-hashes -r ".ci/$requirements"; then
            case $version in
            3.11 | 3.12 | 3.13) die "the pinned packages could not be installed" ;;
            esac
            say "no pinned wheels for Python $version: taking the newest that pyproject.toml allows, WITHOUT hashes"
            pip install hatchling editables ".[dev]"
        fi
        pip install --no-deps --no-build-isolation --no-index --editable .
    )
    stamp "$requirements" >"$VENV/.upnp-gw-$requirements"
}

# What builds the site of the documentation, in an environment of its own: build/site-venv. See docs/build.sh
install_site_packages() {
    local python venv=$ROOT/build/site-venv requirements=requirements-docs.txt wanted
    wanted=$(sha256sum <"$ROOT/.ci/$requirements")
    [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ] || return 0
    python=$(find_python)
    [ -n "$python" ] || die "Python 3.11 or newer with venv is missing. As root: apt-get install python3-venv"
    say "Python packages: $requirements, pinned with hashes"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --require-hashes -r "$ROOT/.ci/$requirements"
    printf '%s\n' "$wanted" >"$venv/.installed"
}

# prepare product | tests | quick. quick installs no Debian package.
prepare() {
    if [ "$1" = quick ]; then
        [ -n "$(find_python)" ] || die "Python 3.11 or newer with venv is missing. As root: apt-get install python3-venv"
    else
        install_packages "$1"
    fi
    case $1 in
    product) installed requirements-dev.txt || install_python requirements.txt ;;
    tests | quick) install_python requirements-dev.txt ;;
    esac
    [ "$1" != tests ] || { install_promtool && install_unpacked && install_site_packages; }
}
