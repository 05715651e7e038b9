"""A small OpenID Connect provider: a program that prints its address, and logs in whoever `/become` named last."""

import base64
import contextlib
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT, SECRET = "naq", "what the provider has given"
KEY, FOREIGN_KEY = (ECKey.generate_key("P-256", {"kid": "1", "use": "sig"}, auto_kid=False) for _ in range(2))


class Provider(BaseHTTPRequestHandler):
    """Answers what a client of the code flow asks."""

    user: ClassVar[dict[str, str]] = {}
    codes: ClassVar[dict[str, dict[str, str]]] = {}

    def do_GET(self) -> None:
        """Discovery, keys, the login of the user, and for tests `/become`."""
        parts, issuer = urlsplit(self.path), f"http://{self.headers['Host']}"
        asked = dict(parse_qsl(parts.query))
        match parts.path:
            case "/.well-known/openid-configuration":
                ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
                self.say({"issuer": issuer} | {name: f"{issuer}/{path}" for name, path in ends.items()})
            case "/keys":
                self.say({"keys": [KEY.as_dict(private=False)]})
            case "/become":
                Provider.user = asked
                self.say({})
            case "/authorize":
                code = secrets.token_urlsafe()
                Provider.codes[code] = asked
                back = {"code": code, "state": asked["state"]}
                if "deny" in Provider.user:
                    back = {"error": "access_denied", "state": asked["state"]}
                self.send_response(303)
                self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
                self.end_headers()
            case _:
                self.say({}, 404)

    def do_POST(self) -> None:
        """Give a token for a code, once, to who has begun."""
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        begun = Provider.codes.pop(form.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if begun is None or proof != begun["code_challenge"] or self.headers["Authorization"] != f"Basic {login}":
            self.say({"error": "invalid_grant"}, 400)
            return
        now, user = int(time.time()), Provider.user
        claims = {"iss": f"http://{self.headers['Host']}", "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60}
        claims |= {"nonce": begun["nonce"], "email": user.get("email"), "groups": user.get("groups", "").split()}
        key = FOREIGN_KEY if "forge" in user else KEY
        token = jwt.encode({"alg": "ES256", "kid": "1"}, claims | json.loads(user.get("claims", "{}")), key)
        self.say({"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": token})

    def say(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def provider() -> Iterator[str]:
    """Run the program, and give its address."""
    with subprocess.Popen([sys.executable, "-m", "tests.support.oidc"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
