"""How every process with a Celery app speaks to the broker."""

from __future__ import annotations

import ssl

import pytest
from celery import Celery
from kombu.transport.redis import Transport as KombusTransport

from specs.processes.broker import celery_settings
from specs.processes.careful_transport import Transport


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://:secret@broker:6379/2", False),
        ("rediss://:secret@broker:6379/2", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("rediss://:secret@broker:6379/2?ssl_cert_reqs=none", {"ssl_cert_reqs": ssl.CERT_NONE}),
        (
            "rediss://:secret@broker:6379/2?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem",
            {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"},
        ),
    ],
)
def test_a_connection_is_careful_and_encrypted_as_its_address_says(url: str, wanted: object) -> None:
    with Celery("speaks") as app:
        app.conf.update(celery_settings(url))
        for connection in (app.connection_for_read(), app.connection_for_write()):
            assert connection.transport.__class__ is Transport
            assert issubclass(Transport, KombusTransport)
            assert (connection.hostname, connection.port, connection.virtual_host) == ("broker", 6379, "2")
            assert connection.ssl == wanted
            assert "secret" not in connection.as_uri()
