"""Client: sends JSON messages over TCP, each behind its length in 4 bytes.

    python3 client.py [HOST [PORT [MESSAGE...]]]

Each MESSAGE is a JSON text. The replies are printed, one line each.
"""

import json
import socket
import struct
import sys


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


def receive(sock):
    (size,) = struct.unpack(">I", recv_exactly(sock, 4))
    return json.loads(recv_exactly(sock, size))


def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "localhost"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8080
    messages = [json.loads(text) for text in sys.argv[3:]]
    if not messages:
        messages = [{"message": "hello from client", "type": "text"}]

    with socket.create_connection((host, port)) as sock:
        for message in messages:
            sock.sendall(frame(message))
            print(json.dumps(receive(sock)), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, OSError, ValueError) as error:
        sys.exit(f"client.py: {error}")
