"""Judges a server's tokens with PyJWT: python tokens.py BASE ALGORITHM, the HMAC secret in MESH_TEST_JWT_SECRET.

Reads the access token, the capability token and the account's id from the standard input, a JSON object.
"""

import json
import os
import sys
import urllib.request

import jwt

base, algorithm = sys.argv[1:]
given = json.load(sys.stdin)
with urllib.request.urlopen(f"{base}/.well-known/jwks.json") as answer:
    published = json.load(answer)["keys"]

if algorithm.startswith("HS"):
    assert published == [], published
    keys = {None: os.environ["MESH_TEST_JWT_SECRET"]}
else:
    assert all("d" not in key and key["alg"] == algorithm and key["use"] == "sig" for key in published), published
    keys = {key["kid"]: jwt.PyJWK(key).key for key in published}

for kind, token in (("at+jwt", given["access"]), ("mesh-cap+jwt", given["capability"])):
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == (kind, algorithm), header
    key = keys[None if algorithm.startswith("HS") else header["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        issuer="http://localhost:8000",
        options={"require": ["iss", "sub", "jti", "iat", "exp"]},
    )
    assert claims["sub"] == given["user"], claims
    head, payload, mark = token.split(".")
    changed = ("A" if mark[10] != "A" else "B").join((mark[:10], mark[11:]))
    try:
        jwt.decode(f"{head}.{payload}.{changed}", key, algorithms=[algorithm], issuer="http://localhost:8000")
        raise SystemExit("a changed signature passes")
    except jwt.InvalidSignatureError:
        pass
print("verified")
