"""Both ends of a login, by a token or by a secret that stays at home.

    python3 login.py HOST PORT token|secret FILE
    python3 login.py --serve HOST PORT token|secret FILE

Once it is let in, and the server has proved that it knows the secret, the client
sends {"message": "hi"} and prints the reply. The server echoes for one client
after the other.
"""

import hmac
import json
import re
import secrets
import socket
import struct
import sys

MAX_PAYLOAD = 16_384
DIGEST = re.compile("[0-9a-f]{64}")


def frame(message):
    payload = json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def recv_exactly(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError("the peer closed the connection")
        data += chunk
    return data


def receive(sock):
    (size,) = struct.unpack(">I", recv_exactly(sock, 4))
    # The peer chooses this number, so it has to be checked before use.
    if size > MAX_PAYLOAD:
        raise ConnectionError(f"a payload of {size} bytes is too large")
    return json.loads(recv_exactly(sock, size))


def ask(sock, message):
    sock.sendall(frame(message))
    return receive(sock)


def word(message):
    return message.get("$login") if isinstance(message, dict) else None


def member(message, name):
    """The bytes of 64 hexadecimal digits in a message."""
    text = message.get(name) if isinstance(message, dict) else None
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise PermissionError("the peer does not speak this login")
    return bytes.fromhex(text)


def proof(role, secret, nonce, challenge):
    text = b"framed-json/1 " + role + b"\0" + nonce + challenge
    return hmac.digest(secret, text, "sha256")


def check(verdict):
    if word(verdict) == "later":
        raise PermissionError("the server asked to try again later")
    if word(verdict) != "accepted":
        raise PermissionError("the server rejected the login")


def log_in_with_token(sock, token):
    check(ask(sock, {"$login": "token", "token": token}))


def log_in_with_secret(sock, secret):
    nonce = secrets.token_bytes(32)
    question = ask(sock, {"$login": "secret", "nonce": nonce.hex()})
    if word(question) != "challenge":
        check(question)
        raise PermissionError("the server does not speak this login")
    challenge = member(question, "challenge")
    response = proof(b"client", secret, nonce, challenge)
    verdict = ask(sock, {"$login": "response", "response": response.hex()})
    check(verdict)
    expected = proof(b"server", secret, nonce, challenge)
    if not hmac.compare_digest(member(verdict, "proof"), expected):
        raise PermissionError("the server did not prove that it knows the secret")


def admit(sock, way, text):
    """The server's half: the verdict on a client."""
    hello = receive(sock)
    if word(hello) != way:
        return {"$login": "refused"}
    if way == "token":
        token = str(hello.get("token")).encode()
        known = hmac.compare_digest(token, text.encode())
        return {"$login": "accepted" if known else "refused"}
    nonce = member(hello, "nonce")
    challenge = secrets.token_bytes(32)
    question = {"$login": "challenge", "challenge": challenge.hex()}
    answer = ask(sock, question)
    expected = proof(b"client", text.encode(), nonce, challenge)
    known = hmac.compare_digest(member(answer, "response"), expected)
    if word(answer) != "response" or not known:
        return {"$login": "refused"}
    proved = proof(b"server", text.encode(), nonce, challenge)
    return {"$login": "accepted", "proof": proved.hex()}


def serve_client(sock, way, text):
    sock.settimeout(5)
    try:
        verdict = admit(sock, way, text)
    except (PermissionError, ValueError):
        verdict = {"$login": "refused"}
    sock.sendall(frame(verdict))
    if verdict["$login"] != "accepted":
        return
    while True:
        message = receive(sock)
        sock.sendall(frame({"status": "success", "echo": message["message"]}))


def serve(host, port, way, text):
    with socket.create_server((host, port)) as listener:
        print("Listening on {}:{}".format(*listener.getsockname()), flush=True)
        while True:
            sock, _ = listener.accept()
            with sock:
                try:
                    serve_client(sock, way, text)
                except (EOFError, OSError, ValueError) as error:
                    print(f"a client left: {error}", flush=True)


def main():
    args = sys.argv[1:]
    is_server = args[:1] == ["--serve"]
    if is_server:
        args = args[1:]
    if len(args) != 4 or args[2] not in ("token", "secret"):
        sys.exit("usage: login.py [--serve] HOST PORT token|secret FILE")
    host, port, way, path = args
    with open(path, encoding="utf-8") as file:
        text = file.read().strip()

    if is_server:
        serve(host, int(port), way, text)
    with socket.create_connection((host, int(port))) as sock:
        if way == "token":
            log_in_with_token(sock, text)
        else:
            log_in_with_secret(sock, text.encode())
        print(json.dumps(ask(sock, {"message": "hi"})), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, OSError, ValueError) as error:
        sys.exit(f"login.py: {error}")
