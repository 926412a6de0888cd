"""What is said of certificates and keys, and which of them a handshake gets."""

import logging
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from app.tls.certificates import check_authorities, check_pair, dns_names, load
from app.tls.sni import Certificates, Pairs
from routes.graph.nodes import CertificatePair
from routes.resources.meta import Key
from routes.table.hostnames import HostMap
from tests.helpers.manifests import pair

CERTIFICATE, KEY = pair("whoami.example")


def secret(name: str, certificate: bytes = CERTIFICATE, key: bytes = KEY) -> CertificatePair:
    return CertificatePair(Key("", "Secret", "default", name), certificate, key)


def encrypted(key: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )


def test_a_certificate_and_its_key_are_a_pair() -> None:
    assert check_pair(CERTIFICATE, KEY) == ""


def test_the_names_of_a_certificate_are_the_dns_names_of_the_first_one() -> None:
    authority = trustme.CA().create_child_ca()
    issued = authority.issue_cert("whoami.example", "*.Example.com", "10.0.0.1")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    assert dns_names(chain) == ("whoami.example", "*.example.com")


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        (b"garbage", KEY, "tls.crt holds no readable PEM certificate"),
        (b"", KEY, "tls.crt holds no readable PEM certificate"),
        (KEY, KEY, "tls.crt holds no readable PEM certificate"),
        (CERTIFICATE[:200], KEY, "tls.crt holds no readable PEM certificate"),
        (CERTIFICATE, b"garbage", "tls.key holds no readable PEM private key"),
        (CERTIFICATE, CERTIFICATE, "tls.key holds no readable PEM private key"),
        (CERTIFICATE, KEY[:100], "tls.key holds no readable PEM private key"),
        (CERTIFICATE, encrypted(KEY), "tls.key is encrypted; a gateway needs the key without a passphrase"),
        (CERTIFICATE, pair("whoami.example")[1], "tls.key is not the key of tls.crt's first certificate"),
    ],
    ids=["garbage", "empty", "a key", "cut off", "garbage key", "a certificate", "cut off key", "encrypted", "other's"],
)
def test_what_is_wrong_with_a_pair_is_said_in_a_sentence(certificate: bytes, key: bytes, sentence: str) -> None:
    assert check_pair(certificate, key) == sentence


def test_certificates_of_authorities_are_read_all_together() -> None:
    authority, other = (trustme.CA().cert_pem.bytes().decode() for _ in range(2))
    assert check_authorities(authority) == ""
    assert check_authorities(f"{authority}\n{other}") == ""


def test_authorities_of_which_one_cannot_be_read_are_refused() -> None:
    authority = trustme.CA().cert_pem.bytes().decode()
    cut = authority.replace("\n", "", 3)[:200] + "\n-----END CERTIFICATE-----\n"
    for text in ("", "no certificate", cut, f"{authority}{cut}", KEY.decode()):
        assert check_authorities(text) == "holds no readable PEM certificate"


def test_the_intermediate_certificate_must_not_come_first() -> None:
    authority = trustme.CA().create_child_ca()
    issued = authority.issue_cert("whoami.example")
    leaf, issuer = (blob.bytes() for blob in issued.cert_chain_pems[:2])
    assert (
        check_pair(issuer + leaf, issued.private_key_pem.bytes())
        == "tls.key is not the key of tls.crt's first certificate"
    )


def expired(name: str) -> tuple[bytes, bytes]:
    past = datetime.now(UTC) - timedelta(days=10)
    issued = trustme.CA().issue_cert(name, not_after=past)
    return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()


def test_an_expired_certificate_is_loaded_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = expired("whoami.example")
    assert check_pair(certificate, key) == ""
    loaded = load(secret("old", certificate, key))
    day = loaded.not_after.date()
    assert caplog.messages == [f"Secret default/old: the certificate has expired on {day}"]


def test_a_certificate_serves_the_dns_names_that_it_bears_in_any_case() -> None:
    names = load(secret("names", *pair("Whoami.Example", "*.example.com"))).names
    assert names.best("whoami.example")
    assert names.best("a.example.com")
    assert not names.best("example.com")
    assert not names.best("other.example")


def test_a_pair_that_openssl_refuses_is_logged_once_and_serves_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    bad = secret("weak", CERTIFICATE, pair("other.example")[1])
    certificates = Certificates()
    for _ in range(2):
        certificates.keep({bad})
    assert certificates.context(HostMap({"": (bad,)}), "whoami.example") is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("Secret default/weak: not usable for TLS: ")


@pytest.fixture
def certificates(one: CertificatePair, two: CertificatePair) -> Certificates:
    certificates = Certificates()
    certificates.keep({one, two})
    return certificates


@pytest.fixture(scope="module")
def one() -> CertificatePair:
    return secret("one", *pair("one.example"))


@pytest.fixture(scope="module")
def two() -> CertificatePair:
    return secret("two", *pair("two.example"))


def shown(certificates: Certificates, pairs: Pairs, name: str | None) -> str:
    """The name of the Secret of the context that is chosen, "" where the handshake ends."""
    context = certificates.context(pairs, name)
    found = [
        pair.secret.name
        for _, listed in pairs.items()
        for pair in listed
        if context is not None and certificates.context(HostMap({"": (pair,)}), "") is context
    ]
    return found[0] if found else ""


def test_of_a_listeners_certificates_the_first_that_bears_the_name_is_shown(
    certificates: Certificates, one: CertificatePair, two: CertificatePair
) -> None:
    pairs: Pairs = HostMap({"": (one, two)})
    assert [shown(certificates, pairs, name) for name in ("one.example", "two.example", "TWO.example.")] == [
        "one",
        "two",
        "two",
    ]


@pytest.mark.parametrize("name", ["other.example", "", None])
def test_a_name_that_no_certificate_bears_gets_the_first(
    certificates: Certificates, one: CertificatePair, two: CertificatePair, name: str | None
) -> None:
    assert shown(certificates, HostMap({"": (two, one)}), name) == "two"


def test_the_most_specific_listener_of_the_name_is_asked(
    certificates: Certificates, one: CertificatePair, two: CertificatePair
) -> None:
    pairs: Pairs = HostMap({"*.example": (one,), "two.example": (two,)})
    assert shown(certificates, pairs, "two.example") == "two"
    assert shown(certificates, pairs, "three.example") == "one"


def test_a_name_that_no_listener_is_for_gets_nothing(certificates: Certificates, one: CertificatePair) -> None:
    assert shown(certificates, HostMap({"one.example": (one,)}), "other.example") == ""


def test_a_client_that_names_nothing_gets_what_the_first_listener_shows(
    certificates: Certificates, one: CertificatePair, two: CertificatePair
) -> None:
    assert shown(certificates, HostMap({"two.example": (two,), "one.example": (one,)}), None) == "two"


def test_a_pair_that_stays_keeps_its_context(certificates: Certificates, one: CertificatePair) -> None:
    before = certificates.context(HostMap({"": (one,)}), None)
    certificates.keep({one})
    assert certificates.context(HostMap({"": (one,)}), None) is before


def test_a_pair_that_is_no_longer_in_the_table_is_forgotten(
    certificates: Certificates, one: CertificatePair, two: CertificatePair
) -> None:
    certificates.keep({one})
    assert certificates.context(HostMap({"": (two,)}), None) is None


def test_listeners_speak_tls_1_2_or_later(certificates: Certificates, one: CertificatePair) -> None:
    context = certificates.context(HostMap({"": (one,)}), None)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_key_is_in_no_representation_of_its_pair() -> None:
    assert "PRIVATE" not in repr(secret("quiet"))
