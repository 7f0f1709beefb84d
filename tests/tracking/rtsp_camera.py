"""A camera on this machine that speaks RTSP (RFC 2326) over TCP. It plays a recording, and hangs up or falls silent."""

from __future__ import annotations

import socketserver
import struct
import threading

TS_PACKET = 188
PER_RTP = 7


class RtspCamera:
    """A server that gives an MPEG transport stream as RTP packets (payload type 33, RFC 2250) between its answers."""

    def __init__(self, recording: bytes, connections: int = 1, *, falls_silent: bool = False) -> None:
        left, closed = [connections], threading.Event()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if not left[0]:
                    return
                left[0] -= 1
                while request := self.rfile.readline().decode().split():
                    headers = dict(
                        line.split(": ", 1) for line in iter(lambda: self.rfile.readline().decode().strip(), "")
                    )
                    self.answer(request[0], headers["CSeq"])
                    if request[0] == "PLAY":
                        self.play()
                        if falls_silent:
                            closed.wait()
                        return

            def answer(self, verb: str, number: str) -> None:
                sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
                own = {
                    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n",
                    "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
                    "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
                }.get(verb, "Session: 1\r\n\r\n")
                self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{own}".encode())

            def play(self) -> None:
                step = TS_PACKET * PER_RTP
                for sequence, start in enumerate(range(0, len(recording), step)):
                    packet = (
                        struct.pack(">BBHII", 0x80, 33, sequence, 3600 * sequence, 1) + recording[start : start + step]
                    )
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)

        self.closed = closed
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.address = f"rtsp://127.0.0.1:{self.server.server_address[1]}/stream"

    def close(self) -> None:
        self.closed.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
