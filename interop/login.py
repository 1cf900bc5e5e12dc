"""Client that logs in, by a token or by a secret that stays at home.

    python3 login.py HOST PORT token TOKEN_FILE
    python3 login.py HOST PORT challenge SECRET_FILE

Once it is let in, it sends {"message": "hi"} and prints the reply.
"""

import hmac
import json
import re
import socket
import struct
import sys

CHALLENGE = re.compile("[0-9a-fA-F]{64}")


def frame(message):
    payload = json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def recv_exactly(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError("the server closed the connection")
        data += chunk
    return data


def ask(sock, message):
    sock.sendall(frame(message))
    (size,) = struct.unpack(">I", recv_exactly(sock, 4))
    return json.loads(recv_exactly(sock, size))


def respond(question, secret):
    challenge = isinstance(question, dict) and question.get("challenge")
    if not isinstance(challenge, str) or not CHALLENGE.fullmatch(challenge):
        raise PermissionError("the server refused")
    response = hmac.digest(secret, bytes.fromhex(challenge), "sha256")
    return {"response": response.hex()}


def log_in(sock, way, secret):
    if way == "token":
        verdict = ask(sock, {"authenticate": "token", "token": secret})
    else:
        question = ask(sock, {"authenticate": "challenge"})
        verdict = ask(sock, respond(question, secret.encode()))
    # Compared as text, for to Python 1 is True.
    if json.dumps(verdict) != '{"authenticated": true}':
        raise PermissionError("the server refused")


def main():
    if len(sys.argv) != 5 or sys.argv[3] not in ("token", "challenge"):
        sys.exit("usage: login.py HOST PORT token|challenge FILE")
    host, port, way, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        secret = file.read().strip()

    with socket.create_connection((host, int(port))) as sock:
        log_in(sock, way, secret)
        print(json.dumps(ask(sock, {"message": "hi"})), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, OSError, ValueError) as error:
        sys.exit(f"login.py: {error}")
