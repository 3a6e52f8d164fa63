"""A server that does nothing: it shows what the client and the machine cost.

``python -m tests.bench.noop_server ADDRESS PORT``

Any request over TCP gets the same answer when its body is whole, any datagram its own bytes with result code 0.
It prints a line when it listens.
"""

import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
END = b"</s:Envelope>"


def serve(address: str, port: int) -> None:
    listener = socket.create_server((address, port), backlog=128)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((address, port))
    listener.setblocking(False)
    received: dict[int, tuple[socket.socket, bytes]] = {}
    with select.epoll() as epoll:
        epoll.register(listener, select.EPOLLIN)
        epoll.register(datagrams, select.EPOLLIN)
        print("listening", flush=True)
        while True:
            for number, _ in epoll.poll():
                if number == listener.fileno():
                    connection, _ = listener.accept()
                    received[connection.fileno()] = connection, b""
                    epoll.register(connection, select.EPOLLIN)
                elif number == datagrams.fileno():
                    data, sender = datagrams.recvfrom(2048)
                    datagrams.sendto(data[:2] + bytes(2) + data[4:], sender)
                else:
                    connection, data = received[number]
                    chunk = connection.recv(65536)
                    if chunk and not (data + chunk).endswith(END):
                        received[number] = connection, data + chunk
                        continue
                    if chunk:
                        connection.sendall(ANSWER)
                    epoll.unregister(number)
                    del received[number]
                    connection.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
