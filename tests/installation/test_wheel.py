"""The wheel and the sdist: built from a copy of this tree, complete, the same each time, and run away from it.

The packages that the program needs are those of this environment, so that nothing is fetched. ``tests/pipx.sh``
takes them from the registry.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from urllib.request import urlopen

from tests.fixtures.wheel import TAG, build, git, sources
from upnp_gw.installation.service_files import Layout, service_files


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_a_second_build_elsewhere_has_the_same_bytes(
    release_tree: Path, built_release: dict[str, Path], tmp_path: Path
) -> None:
    git(release_tree, "clone", "-q", str(release_tree), str(tmp_path / "clone"))
    again = build(tmp_path / "clone", tmp_path / "built", umask=0o077)
    assert {kind: digest(path) for kind, path in again.items()} == {
        kind: digest(path) for kind, path in built_release.items()
    }


def test_the_sdist_makes_the_same_wheel_without_git(built_release: dict[str, Path], tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", str(built_release[".gz"]), "-C", str(tmp_path)], check=True)
    (unpacked,) = tmp_path.iterdir()
    assert (unpacked / "tests" / "run.sh").exists()
    assert digest(build(unpacked, tmp_path / "built")[".whl"]) == digest(built_release[".whl"])


def test_the_version_is_that_of_the_tag(release_tree: Path, built_release: dict[str, Path], tmp_path: Path) -> None:
    assert metadata(built_release[".whl"])["Version"] == TAG.removeprefix("v")
    git(release_tree, "clone", "-q", str(release_tree), str(tmp_path / "clone"))
    git(tmp_path / "clone", "commit", "-q", "--allow-empty", "-m", "work after the release")
    assert version_of(tmp_path / "clone").startswith("7.8.10.dev1+g")
    git(tmp_path / "clone", "tag", "-d", TAG)
    assert version_of(tmp_path / "clone").startswith("0.1.1.dev"), "no tags, as in a shallow clone"
    shutil.rmtree(tmp_path / "clone" / ".git")
    assert version_of(tmp_path / "clone").startswith("0.1.1.dev"), "no git, as in an archive of a forge"


def version_of(tree: Path) -> str:
    command = [sys.executable, "-m", "hatchling", "version"]
    # hypothesis: a directory above with git would count
    environ = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True, env=environ).stdout.strip()


EXAMPLES = ("config", "policies", "systemd")


def test_every_file_that_the_program_needs_is_in_the_wheel(
    release_tree: Path, built_release: dict[str, Path]
) -> None:
    needed = {str(name) for name in sources() if name.parts[0] == "upnp_gw"}
    needed |= {f"upnp_gw/{name}" for name in sources() if name.parts[0] == "descriptors"}
    needed |= {f"upnp_gw/{name}" for name in sources() if name.parts[0] == "examples" and name.parts[1] in EXAMPLES}
    with zipfile.ZipFile(built_release[".whl"]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names - {"upnp_gw/_version.py"} == needed
    assert {"upnp_gw/descriptors/igd1.xml", "upnp_gw/page/static/page.js"} <= names


def test_the_metadata_is_complete(built_release: dict[str, Path]) -> None:
    found = metadata(built_release[".whl"])
    assert (found["License-Expression"], found["License-File"]) == ("MIT", "LICENSE")
    assert found["Description-Content-Type"] == "text/markdown"
    assert len(str(found.get_payload())) > 5000
    assert found["Requires-Python"] == ">=3.11"
    assert found["Summary"]
    assert found["Keywords"]
    classifiers = found.get_all("Classifier") or []
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= set(classifiers)
    from trove_classifiers import classifiers as known  # hatchling brings it

    assert set(classifiers) <= known


# -- installed


def run(installed_wheel: Path, *arguments: str, cwd: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(installed_wheel / "bin" / "upnp-gw"), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180, check=False, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_program_has_no_file_of_this_tree(installed_wheel: Path, tmp_path: Path) -> None:
    assert run(installed_wheel, "--version", cwd=tmp_path) == f"upnp-gw {TAG.removeprefix('v')}\n"
    code = (
        "import sys, upnp_gw.daemon.process, upnp_gw.page.process; print(*(m.__file__ for m in sys.modules.values()"
    )
    code += " if m.__name__.startswith('upnp_gw')), sep='\\n')"
    done = subprocess.run(
        [installed_wheel / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    files = done.stdout.decode().splitlines()
    assert len(files) > 100
    assert [file for file in files if not file.startswith(str(installed_wheel))] == []


def test_its_commands_find_their_files(installed_wheel: Path, tmp_path: Path) -> None:
    run(installed_wheel, "manual", "--root", str(tmp_path), cwd=tmp_path)
    assert (tmp_path / "usr/local/share/man/man5/upnp-gw.toml.5").exists()
    run(installed_wheel, "policy", "init", "--profile", "ask", str(tmp_path / "policy.toml"), cwd=tmp_path)
    run(installed_wheel, "policy", "check", str(tmp_path / "policy.toml"), cwd=tmp_path)
    code = "from upnp_gw.page.rendering import *; from upnp_gw.installation.service_files import *; "
    code += "print(len(service_files(Layout.PACKAGE)))"
    done = subprocess.run(
        [installed_wheel / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    assert int(done.stdout) == len(service_files(Layout.PACKAGE))


def test_its_emulator_serves_descriptions(installed_wheel: Path, tmp_path: Path) -> None:
    command = [str(installed_wheel / "bin" / "upnp-gw"), "emulate", "--until-eof", "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            urls = json.loads(process.stdout.readline())
            found = [url for url in urls.values() if isinstance(url, str) and url.endswith(".xml")]
            for url in found:
                with urlopen(url, timeout=10) as answer:
                    assert b"InternetGatewayDevice" in answer.read()
            assert found
        finally:
            process.stdin.close()
    assert process.returncode == 0
