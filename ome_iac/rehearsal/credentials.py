"""The local control plane's own certificate authority, keys and tokens: made once per data folder, for its owner only.

Nothing in here is accepted by any other cluster, and nothing of the control plane is open without it.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

CONTEXT = "ome-iac-rehearsal"
# User and groups of each token. Kubernetes binds the components' own users to their roles at its start.
USERS = {
    "admin": ("ome-iac", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kwok": ("kwok", "system:masters"),
    "lws": ("lws-controller-manager", "system:masters"),
    "jobset": ("jobset-controller-manager", "system:masters"),
}
VALID = datetime.timedelta(days=3650)


def write_private(path: Path, text: str | bytes) -> None:
    """Write a file that only its owner can read, in one step: no reader finds half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    draft.replace(path)


class Credentials:
    """The files in `folder`; made by the first call, kept by every later one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "ca.crt"
        self.authority_key = folder / "ca.key"
        self.server = folder / "server.crt"
        self.server_key = folder / "server.key"
        self.service_accounts_key = folder / "service-accounts.key"
        self.tokens = folder / "tokens.csv"
        # Written last: where it is, everything is.
        if not self.tokens.exists():
            self._make()
        self._add_new_users()

    @property
    def authority_bundle(self) -> str:
        """The authority's certificate as Kubernetes objects carry it: PEM in base64."""
        return base64.b64encode(self.authority.read_bytes()).decode()

    def token(self, name: str) -> str:
        """The bearer token of a key of USERS."""
        user = USERS[name][0]
        lines = (line.split(",") for line in self.tokens.read_text().splitlines())
        return next(token for token, its_user, *_ in lines if its_user == user)

    def kubeconfig(self, name: str, server: str) -> str:
        """A kubeconfig for `server` (URL) with the token of a key of USERS; its only context is CONTEXT."""
        import yaml

        return str(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": CONTEXT,
                    "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": name}}],
                    "clusters": [
                        {
                            "name": CONTEXT,
                            "cluster": {"server": server, "certificate-authority-data": self.authority_bundle},
                        }
                    ],
                    "users": [{"name": name, "user": {"token": self.token(name)}}],
                }
            )
        )

    def _make(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority_key = ec.generate_private_key(ec.SECP256R1())
        server_key = ec.generate_private_key(ec.SECP256R1())
        authority = _authority_certificate(authority_key)
        server = _server_certificate(server_key, authority, authority_key)
        for path, key in ((self.authority_key, authority_key), (self.server_key, server_key)):
            write_private(path, _pem_key(key))
        write_private(self.service_accounts_key, _pem_key(ec.generate_private_key(ec.SECP256R1())))
        write_private(self.authority, _pem_certificate(authority))
        write_private(self.server, _pem_certificate(server))
        write_private(self.tokens, "")

    def _add_new_users(self) -> None:
        """A token for each of USERS that has none: all of them at first, later those of a newer version of ome-iac."""
        lines = self.tokens.read_text().splitlines()
        known = {line.split(",")[1] for line in lines}
        new = [(name, user, groups) for name, (user, groups) in USERS.items() if user not in known]
        if new:
            lines += [f'{secrets.token_urlsafe(32)},{user},{name},"{groups}"' for name, user, groups in new]
            write_private(self.tokens, "\n".join(lines) + "\n")


def _authority_certificate(key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CONTEXT)])
    now = datetime.datetime.now(datetime.UTC)
    signing = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: EllipticCurvePrivateKey, authority: Certificate, authority_key: EllipticCurvePrivateKey
) -> Certificate:
    """For the API server and etcd, as server and, towards etcd, as client."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        authority.subject, name, key.public_key(), x509.random_serial_number(), now, now + VALID
    )
    return (
        builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _pem_certificate(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
