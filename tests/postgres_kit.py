"""A PostgreSQL server of a test's own, on a loopback port; where there is none, the reason why.

PostgreSQL does not run as root, so there it is started as the user `postgres`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dagster_kit import new_home


class Postgres:
    """A server and its databases, in a folder of its own."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self.programs, self.user = folder, programs, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        self._run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """Stop it as a crash does: whoever is connected is cut off."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def home(self, path: Path, driver: str = "psycopg2") -> Path:
        """Make a Dagster home whose instance is kept here, on loopback; return it."""
        return self._home(path, f"127.0.0.1:{self.port}/postgres", driver)

    def home_by_socket(self, path: Path) -> Path:
        """Make a home of the same instance, reached without a network; return it."""
        return self._home(path, f"/postgres?host={self.folder}&port={self.port}")

    def _home(self, path: Path, where: str, driver: str = "psycopg2") -> Path:
        home = new_home(path)
        with (home / "dagster.yaml").open("a") as config:
            url = f"postgresql+{driver}://postgres@{where}"
            config.write(f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n")
        return home

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self.user,
            cwd=self.folder,
        )


def missing() -> str | None:
    """Return why there is no PostgreSQL for the tests, or None."""
    if find_spec("dagster_postgres") is None or find_spec("psycopg2") is None:
        return "no dagster-postgres: pip install 'generation-ids[test]'"
    if _programs() is None:
        return "no PostgreSQL here: apt-get install postgresql"
    if os.geteuid() == 0 and not any(one.pw_name == "postgres" for one in pwd.getpwall()):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for a block."""
    programs = _programs()
    assert programs is not None
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="genid-pg-") as name:
        if user is not None:
            shutil.chown(name, user)
        server = Postgres(Path(name), programs, user)
        server.start()
        try:
            yield server
        finally:
            subprocess.run(  # it may be stopped already
                [programs / "pg_ctl", "-D", server.folder / "data", "-m", "immediate", "stop"],
                check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user,
            )  # fmt: skip


def _programs() -> Path | None:
    """Return the folder of the server's programs: Debian keeps them off the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [*debian, *map(Path, os.get_exec_path())]
    return next((one for one in folders if (one / "initdb").is_file()), None)
