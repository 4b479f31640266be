"""A certificate authority of the tests' own.

Authority(directory) makes its files there: `ca` is the authority's certificate; certificate(name) makes one for the host
`name` and returns the files (certificate, key); with `days` below zero it is expired.
"""
import subprocess

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    def __init__(self, directory):
        self._directory = directory
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self._openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests' CA", "-days", "2")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True)

    def certificate(self, name, days=2, subject=None, names=None):
        """`subject` replaces /CN=NAME. `names` replaces DNS:NAME, as openssl's subjectAltName."""
        self._openssl("req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.request", "-subj", subject or f"/CN={name}")
        (self._directory / "names").write_text(f"subjectAltName={names or f'DNS:{name}'}\n")
        self._openssl("x509", "-req", "-in", f"{name}.request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-extfile", "names", "-out", f"{name}.pem", "-days", str(days))
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"
