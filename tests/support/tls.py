"""A certificate authority of the tests' own.

Authority(directory) makes its files there: `ca` is the authority's certificate; certificate(name) makes one for the host
`name` (a name or an address) and returns the files (certificate, key); with `days` below zero it is expired.
"""
import datetime
import subprocess

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def lifetime(days):
    """Options of `openssl x509`; OpenSSL 3.4 and newer takes no days below zero."""
    if days >= 0 or "-not_after" not in subprocess.run(["openssl", "x509", "-help"], capture_output=True, text=True).stderr:
        return ["-days", str(days)]
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = ((now + datetime.timedelta(days=day)).strftime("%Y%m%d%H%M%SZ") for day in (days - 1, days))
    return ["-not_before", begin, "-not_after", end]


class Authority:
    def __init__(self, directory):
        self._directory = directory
        directory.mkdir()
        self.ca = directory / "ca.pem"
        self._openssl("req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests' CA", "-days", "2")

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True)

    def certificate(self, name, days=2, subject=None, names=None):
        """`subject` replaces /CN=NAME. `names` replaces DNS:NAME or IP:NAME, as openssl's subjectAltName."""
        self._openssl("req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.request", "-subj", subject or f"/CN={name}")
        kind = "IP" if name.replace(".", "").isdigit() else "DNS"
        (self._directory / "names").write_text(f"subjectAltName={names or kind + ':' + name}\n")
        self._openssl("x509", "-req", "-in", f"{name}.request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                      "-extfile", "names", "-out", f"{name}.pem", *lifetime(days))
        return self._directory / f"{name}.pem", self._directory / f"{name}.key"
