"""Certificates for tests, made by the openssl program: a root, and servers' certificates below it."""

import ssl
import subprocess


def openssl(*argv, cwd):
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"openssl {argv[0]}: {done.stderr}"


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self._key("root", "ec")
        openssl("req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=Test Root", "-days", "30", "-out", "root.pem", cwd=directory)

    def _key(self, name, kind):
        how = {"ec": ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
               "rsa": ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")}[kind]
        openssl(*how, "-out", f"{name}.key", cwd=self.directory)
        (self.directory / f"{name}.key").chmod(0o600)

    def issue(self, name, kind="ec", days=30, names="DNS:localhost,IP:127.0.0.1"):
        """(certificate, key): for these names, with the root behind it."""
        self._key(name, kind)
        (self.directory / "ext").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr", cwd=self.directory)
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", str(days), "-extfile",
                "ext", "-out", f"{name}.leaf", cwd=self.directory)
        certificate = self.directory / f"{name}.pem"
        certificate.write_text((self.directory / f"{name}.leaf").read_text() + (self.directory / "root.pem").read_text())
        return certificate, self.directory / f"{name}.key"

    def context(self, **how):
        context = ssl.create_default_context(cafile=self.directory / "root.pem")
        for name, value in how.items():
            setattr(context, name, value)
        return context
