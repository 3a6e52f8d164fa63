"""libnftables, through the distribution's nftables Python bindings, or through ctypes without them.

A virtual environment does not see Debian's ``python3-nftables``, so it is loaded from the directory of the
distribution. The copies of the bindings on PyPI are stale and are not used. A context must stay on one thread: it
crashes if two threads share it.
"""

import ctypes
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, Protocol

from upnp_gw.model.errors import FirewallError

log = logging.getLogger(__name__)

SONAME = "libnftables.so.1"
JSON = 1 << 4
"""NFT_CTX_OUTPUT_JSON."""
_MISSING = (
    f"the nftables library {SONAME} is missing: install it (Debian, Ubuntu: apt install libnftables1;"
    " other distributions: the nftables package), or use --backend memory"
)


class TooLarge(FirewallError):
    """The change is larger than the socket's buffer, which root of a user namespace cannot enlarge."""


class Library(Protocol):
    """The calls of the nftables bindings that we use."""

    def cmd(self, cmdline: str) -> tuple[int, Any, str]:
        """Runs commands as one transaction. Returns code (0: success), output and error text."""
        ...

    def set_json_output(self, val: bool) -> Any: ...


class LoadedLibrary:
    """Our loader. Raises FirewallError with the package's name if the library is not installed."""

    def __init__(self, soname: str = SONAME) -> None:
        try:
            library = ctypes.CDLL(soname)
            self._new, self._free = library.nft_ctx_new, library.nft_ctx_free
            self._run, self._get = library.nft_run_cmd_from_buffer, library.nft_ctx_output_get_flags
            self._set = library.nft_ctx_output_set_flags
            outputs = (library.nft_ctx_get_output_buffer, library.nft_ctx_get_error_buffer)
            buffers = (library.nft_ctx_buffer_output, library.nft_ctx_buffer_error)
        except (OSError, AttributeError):
            raise FirewallError(_MISSING) from None
        self._new.restype = ctypes.c_void_p
        self._new.argtypes = [ctypes.c_uint32]
        self._free.argtypes = [ctypes.c_void_p]
        self._free.restype = None
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._get.argtypes = [ctypes.c_void_p]
        self._get.restype = ctypes.c_uint
        self._set.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        for function in outputs:
            function.argtypes = [ctypes.c_void_p]
            function.restype = ctypes.c_char_p
        for function in buffers:
            function.argtypes = [ctypes.c_void_p]
        self._output, self._error = outputs
        self._context = self._new(0)
        if not self._context:
            raise FirewallError("libnftables gives no context: is the process allowed to open netlink sockets?")
        for function in buffers:
            function(self._context)

    def __del__(self) -> None:
        context, self._context = getattr(self, "_context", None), None
        if context:
            self._free(context)

    def cmd(self, cmdline: str) -> tuple[int, Any, str]:
        code = self._run(self._context, cmdline.encode("ascii"))
        output, error = self._output(self._context), self._error(self._context)
        return code, (output or b"").decode(errors="replace"), (error or b"").decode(errors="replace")

    def set_json_output(self, val: bool) -> None:
        flags = self._get(self._context)
        self._set(self._context, flags | JSON if val else flags & ~JSON)


def check_library(use: Callable[[], object] | None = None) -> None:
    """Reads the ruleset in a forked process. Raises FirewallError if libnftables crashes there.

    Version 1.0.6 crashes if nft 1.1 made a set ``{ type ipv4_addr; }``: every use of the library in this network
    namespace would end the process. ``load_library`` reports a missing library or permission. Call this before the
    first thread starts: the fork has only the calling thread. ``use`` replaces the reading in tests.
    """
    child = os.fork()
    if not child:
        try:
            os.close(2)  # libnftables complains there; the daemon's message is clearer
            (use or _read_ruleset)()
        finally:
            os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV:
        raise FirewallError(
            "libnftables crashes when it reads the tables of this network namespace. Another version of nft made"
            " one of them, in a container for instance. Upgrade libnftables1 and nftables to 1.1 or later, or have"
            " that table made by the same version"
        )


def _read_ruleset() -> None:
    load_library().cmd("list ruleset")


_DISTRIBUTION = [
    "/usr/lib/python3/dist-packages",  # Debian, Ubuntu
    *(f"/usr/{lib}/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages" for lib in ("lib", "lib64")),
]
"""The directories of the distributions' Python packages. A virtual environment does not search them."""
LOADER = "upnp-gw's own loader of libnftables.so.1 (the nftables Python bindings are not installed)"


def find_bindings(places: Sequence[str] = _DISTRIBUTION) -> ModuleType | None:
    """The nftables Python bindings of the distribution (Debian: python3-nftables); None if they are not installed.

    The module is loaded from its file. No other package of the distribution becomes importable.
    """
    for place in places:
        spec = PathFinder.find_spec("nftables", [place])
        if spec is None or spec.loader is None:
            continue
        _forget_nftables()
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # its ``from .nftables import *`` needs its parent
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            log.warning("the nftables Python bindings in %s cannot be used: %s", place, type(error).__name__)
            continue
        finally:
            _forget_nftables()
        if hasattr(module, "Nftables"):
            return module
    return None


def _forget_nftables() -> None:
    """Removes the package from ``sys.modules``, so that two copies (PyPI has a stale one) do not mix."""
    for name in [name for name in sys.modules if name.split(".")[0] == "nftables"]:
        del sys.modules[name]


@cache
def _bindings() -> ModuleType | None:
    return find_bindings()


def describe_library() -> str:
    """Names the library that ``load_library`` uses, for the operator."""
    module = _bindings()
    return LOADER if module is None else f"the nftables Python bindings in {module.__file__}"


def load_library() -> Library:
    """A new context for the calling thread: the distribution's bindings or our loader. Raises FirewallError."""
    module = _bindings()
    if module is not None:
        try:
            library: Library = module.Nftables()
            return library
        except (OSError, AttributeError):
            log.warning("the nftables Python bindings do not fit libnftables; using the loader of upnp-gw")
    return LoadedLibrary()


class Session:
    """One context. Use it only on the thread that made it."""

    def __init__(self, library: Library | None = None) -> None:
        self._library = library or load_library()

    def run(self, commands: str) -> None:
        """Runs one transaction. Raises FirewallError with the kernel's first error; then nothing has changed."""
        code, _, error = self._library.cmd(commands)
        if code != 0:
            raise TooLarge("nftables: too large a change") if "Message too long" in error else _refused(error)

    def query(self, command: str) -> dict[str, Any]:
        """A listing as parsed JSON. Raises FirewallError."""
        self._library.set_json_output(True)
        try:
            code, output, error = self._library.cmd(command)
            if code != 0:
                raise _refused(error)
            found: dict[str, Any] = json.loads(output) if output else {"nftables": []}
        except ValueError as problem:  # another program's comment can contain any bytes
            raise FirewallError(f"nftables: {command!r} cannot be read: {problem}") from None
        finally:
            self._library.set_json_output(False)
        return found

    def text(self, command: str) -> str:
        """The output of a command as nft prints it. Raises FirewallError."""
        try:
            code, output, error = self._library.cmd(command)
        except UnicodeDecodeError as problem:
            raise FirewallError(f"nftables: {command!r} cannot be read: {problem}") from None
        if code != 0:
            raise _refused(error)
        return str(output)


def _refused(error: str) -> FirewallError:
    """An error with only the reason: libnftables also prints the commands, and names the wrong one of a batch."""
    found = re.search(r"Error: (.*)", error)
    return FirewallError(f"nftables: {plain_reason(found.group(1).strip() if found else '')}")


def plain_reason(reason: str) -> str:
    """The reason of an error for the operator."""
    if "Too many open files" in reason:  # the text of ENFILE: a set has reached its size
        return "a map is full"
    if "Operation not permitted" in reason:
        return f"{reason} (needs CAP_NET_ADMIN; user id {os.geteuid()})"
    return reason or "the kernel refused the change"
