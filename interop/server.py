"""Echo server: JSON messages over TCP, each behind its length in 4 bytes.

    python3 server.py [HOST [PORT]]

The answer to {"message": X} is {"status": "success", "echo": X}.
"""

import json
import socket
import struct
import sys
import threading

MAX_PAYLOAD = 1_048_576


def frame(message):
    payload = json.dumps(message).encode()
    return struct.pack(">I", len(payload)) + payload


def recv_exactly(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError("end of stream")
        data += chunk
    return data


def recv_payload(sock):
    (size,) = struct.unpack(">I", recv_exactly(sock, 4))
    # The peer chooses this number, so it has to be checked before use.
    if size > MAX_PAYLOAD:
        raise ConnectionError(f"a payload of {size} bytes is too large")
    return recv_exactly(sock, size)


def answer(payload):
    try:
        message = json.loads(payload.decode())
    except (ValueError, RecursionError):
        return {"status": "error", "error": "the payload is not JSON"}
    if isinstance(message, dict) and "message" in message:
        return {"status": "success", "echo": message["message"]}
    return {"status": "error", "error": 'expected an object with a "message"'}


def serve_client(sock, address):
    peer = "{}:{}".format(*address)
    print(f"{peer} connected", flush=True)
    with sock:
        try:
            while True:
                sock.sendall(frame(answer(recv_payload(sock))))
        except (EOFError, OSError) as error:
            print(f"{peer} left: {error}", flush=True)


def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "0.0.0.0"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8080

    with socket.create_server((host, port)) as listener:
        print("Listening on {}:{}".format(*listener.getsockname()), flush=True)
        while True:
            client = listener.accept()
            threading.Thread(
                target=serve_client, args=client, daemon=True
            ).start()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"server.py: {error}")
    except KeyboardInterrupt:
        pass
