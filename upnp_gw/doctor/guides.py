"""The pages of the documentation that findings name. Pure."""

DOUBLE_NAT = "docs/symptoms/double-nat.md"
NOTHING_FINDS = "docs/symptoms/nothing-finds-the-gateway.md"
NOTHING_ARRIVES = "docs/symptoms/nothing-arrives.md"
BESIDE = "docs/guides/beside.md"
DOCKER = "docs/guides/docker.md"
WIREGUARD = "docs/guides/wireguard.md"
WITHOUT_NAT = "docs/without-nat.md"
PROVE_KERNEL = "docs/prove-kernel.md"
OF_PROGRAM = {
    "docker": DOCKER,
    "firewalld": "docs/guides/firewalld.md",
    "iptables": BESIDE,
    "libvirt": "docs/guides/libvirt.md",
    "nftables": "docs/guides/nftables.md",
    "proxmox": "docs/guides/proxmox.md",
    "ufw": "docs/guides/ufw.md",
}
"""Program that wrote a chain (``Drop.program``) -> the page about it."""
