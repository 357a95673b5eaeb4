"""A real nginx with the site of the documentation."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "docs/nginx.conf"

MAIN = """\
daemon off;
{user}pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """Serves until it is stopped. Its site is that of the documentation but for places and ports."""

    def __init__(
        self, folder: Path, certificate: Path, key: Path, behind: str, users: dict[str, str], token: str = ""
    ) -> None:
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            pytest.skip("needs nginx: apt-get install nginx-light")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"https://localhost:{self.port}"
        passwords = folder / "htpasswd"
        passwords.write_text("".join(f"{name}:{_hashed(word)}\n" for name, word in users.items()))
        site = SITE.read_text()
        for ours, theirs in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("listen [::]:443 ssl;", ""),
            ("/etc/nginx/scanlight.pem", str(certificate)),
            ("/etc/nginx/scanlight.key", str(key)),
            ("/etc/nginx/scanlight.htpasswd", str(passwords)),
            ("http://127.0.0.1:8080", behind.rstrip("/")),
            ('Authorization ""', f'Authorization "{f"Bearer {token}" if token else ""}"'),
        ):
            assert ours in site
            site = site.replace(ours, theirs)
        (folder / "site.conf").write_text(site)
        # The folders of a test are for its own user alone.
        user = "user root;\n" if getpass.getuser() == "root" else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        self._log = (folder / "nginx.log").open("w+")
        words = [program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
        self._process = subprocess.Popen(words, stderr=self._log)
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                self._log.seek(0)
                assert self._process.poll() is None, self._log.read()
                assert time.monotonic() < end
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


def _hashed(word: str) -> str:
    done = subprocess.run(["openssl", "passwd", "-6", word], capture_output=True, text=True, check=True)
    return done.stdout.strip()
