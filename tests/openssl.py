"""Certificates made by openssl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path, name: str = "page") -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl: apt-get install openssl")
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = f"{program} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = f"-subj /CN={name} -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [*words.split(), *subject.split(), "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    return certificate, key


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))
