from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from openssl import make_certificate, trusting
from served import Served
from starlette.applications import Starlette

from appliance.web.certificate import Certificate, CertificateError


def problem(certificate: Path, key: Path) -> str:
    with pytest.raises(CertificateError) as raised:
        Certificate(certificate, key)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def shown(server: Served) -> bytes:
    """The certificate that a new connection gets to see."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((server.host, server.port), 10) as plain,
        context.wrap_socket(plain) as connection,
    ):
        found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def test_a_pair_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "two")
    assert problem(certificate, other) == (
        f"The key {other} is not the one of the certificate {certificate}: set tls to a pair that fits."
    )


def test_files_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    none, text, locked = tmp_path / "none.pem", tmp_path / "text.pem", tmp_path / "locked.key"
    text.write_text("no PEM")
    text.chmod(0o600)
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked], check=True
    )
    locked.chmod(0o600)
    assert problem(none, key).startswith(f"The certificate {none} cannot be read: it must be a file")
    assert problem(certificate, none).startswith(f"The key of the certificate {none} cannot be read")
    assert problem(tmp_path, key).startswith(f"The certificate {tmp_path} cannot be read")
    for pair in ((text, key), (certificate, text), (certificate, locked), (key, certificate)):
        assert "must be PEM files, the key without a password" in problem(*pair)


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    key.chmod(0o644)
    assert (
        problem(certificate, key) == f"The key {key} is open to every user of this machine: chmod 640 {key}"
    )


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    assert Certificate(*make_certificate(tmp_path)).context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_shown_to_the_next_connection_and_a_half_renewed_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    certificate, key = make_certificate(tmp_path)
    first = der(certificate)
    renewed = make_certificate(tmp_path, "renewed")
    server = Served(Starlette(), certificate=Certificate(certificate, key))
    server.start()
    try:
        assert shown(server) == first
        with httpx.Client(verify=trusting(certificate)) as open_before:
            assert open_before.get(server.url).status_code == 404
            renewed[0].replace(certificate)
            for _ in range(3):
                assert shown(server) == first
            renewed[1].replace(key)
            assert shown(server) == der(certificate) != first
            assert open_before.get(server.url).status_code == 404
        with httpx.Client(verify=trusting(certificate)) as named:
            assert named.get(f"https://localhost:{server.port}/").status_code == 404
        key.unlink()
        assert shown(server) == der(certificate)
    finally:
        server.stop()
    events = [record.getMessage() for record in caplog.records if record.name == "scanlight"]
    assert events == ["certificate_kept", "certificate_renewed", "certificate_kept"]


def test_who_speaks_no_tls_gets_no_answer_and_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Served(Starlette(), certificate=Certificate(*make_certificate(tmp_path)))
    server.start()
    try:
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{server.host}:{server.port}/JANE-DOE")
        assert shown(server)
    finally:
        server.stop()
    assert not [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
