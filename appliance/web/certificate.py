"""The certificate of the page: read at the start, and again when it has been renewed."""

from __future__ import annotations

import logging
import os
import ssl
import stat
from pathlib import Path

from appliance import logs

Identity = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """The certificate cannot be used; the message is one sentence with what to do."""


class Certificate:
    """A certificate with its key, for `context`.

    Whoever renews it replaces the two files and tells nobody: the next connection gets the new one. While
    they do not fit, since one of them was replaced a moment before the other, the old one stays.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises CertificateError."""
        self._files = (certificate, key)
        self._identity = self._looked_at()
        self._complained: Identity | None = None
        self.context = self._newest = self._load()
        self.context.sni_callback = self._use_newest

    def _use_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called for each connection, whether it names a host or not."""
        self._look()
        connection.context = self._newest

    def _look(self) -> None:
        identity = self._looked_at()
        if identity == self._identity:
            return
        try:
            self._newest = self._load()
        except CertificateError as error:
            if self._complained != identity:
                self._complained = identity
                logs.event("certificate_kept", logging.WARNING, why=str(error))
            return
        self._identity = identity
        logs.event("certificate_renewed")

    def _looked_at(self) -> Identity:
        found = []
        for path in self._files:
            try:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for path, what in ((certificate, "certificate"), (key, "key of the certificate")):
            if not (path.is_file() and os.access(path, os.R_OK)):
                raise CertificateError(
                    f"The {what} {path} cannot be read: it must be a file that the service's user may read."
                )
        try:
            open_to_all = key.stat().st_mode & stat.S_IRWXO
            # An encrypted key would be asked for on a terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise CertificateError(_sentence(certificate, key, error)) from error
        if open_to_all:
            raise CertificateError(f"The key {key} is open to every user of this machine: chmod 640 {key}")
        return context


def _sentence(certificate: Path, key: Path, error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"The key {key} is not the one of the certificate {certificate}: set tls to a pair that fits."
    return (
        f"The certificate {certificate} and the key {key} cannot be used: both must be PEM files, the key"
        " without a password."
    )
