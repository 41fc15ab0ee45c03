"""How many sent bytes a peer has not read yet.

Why: `Sensor.stop()` of CARLA 0.9.16 closes its socket while the client's I/O thread may be between a
message's length and its body; the body then reads as zeros, which aborts the user's process. A server
that lets its client go on only when everything sent has been read never meets that window. TCP's own
acknowledgements say nothing about reading, but on one machine the kernel can be asked about the peer's
socket: netlink sock_diag, see sock_diag(7) and linux/inet_diag.h.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_INET_DIAG_INFO = 2
_NLMSG = struct.Struct("=IHHII")  # length, type, flags, sequence, pid
_REQUEST_HEAD = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
_ALL_STATES = 0xFFFFFFFF
_SOCKET_ID_BYTES = 48
# Offsets in an answer: struct inet_diag_msg follows the 16 bytes of nlmsghdr and has 72 bytes.
_RQUEUE_AT = _NLMSG.size + 4 + _SOCKET_ID_BYTES + 4
_ATTRIBUTES_AT = _NLMSG.size + 72
_BYTES_RECEIVED_AT = 128  # tcpi_bytes_received in struct tcp_info
_RECEIVE_BYTES = 8192


class DrainGauge:
    """Looks up the unread bytes of loopback peers; close it at the end."""

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        try:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
            self._netlink.setblocking(False)  # the kernel answers within the call that asks
        except OSError:  # not allowed in this sandbox: sent bytes are all that can be seen
            self.close()

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def unread(self, sock: socket.socket, sent: int, request: bytes) -> int:
        """Bytes of the `sent` ones that the peer of `sock` has not read; `request` from `look_up`.

        A peer elsewhere (other host or network namespace) counts as having read what its kernel took.
        """
        if self._netlink is None or not request:
            return _unacknowledged(sock)
        try:
            self._netlink.send(request)
            answer = self._netlink.recv(_RECEIVE_BYTES)
        except OSError:
            self.close()
            return _unacknowledged(sock)
        if _NLMSG.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
            return _unacknowledged(sock)
        (queued,) = struct.unpack_from("=I", answer, _RQUEUE_AT)
        return int(queued) + max(0, sent - _bytes_received(answer, sent))


def look_up(sock: socket.socket) -> bytes:
    """The netlink request that names the peer's end of `sock`; empty where there is none (not IPv4)."""
    if sock.family != socket.AF_INET:
        return b""
    try:
        (peer_host, peer_port), (host, port) = sock.getpeername(), sock.getsockname()
    except OSError:
        return b""
    socket_id = struct.pack("!HH", peer_port, port)
    socket_id += socket.inet_aton(peer_host).ljust(16, b"\0") + socket.inet_aton(host).ljust(16, b"\0")
    socket_id += struct.pack("=III", 0, *_NO_COOKIE)
    body = _REQUEST_HEAD.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0, _ALL_STATES)
    body += socket_id
    return _NLMSG.pack(_NLMSG.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + body


def _bytes_received(answer: bytes, otherwise: int) -> int:
    """tcpi_bytes_received of the answer's tcp_info, which need not be there."""
    at = _ATTRIBUTES_AT
    while at + 4 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if length < 4:
            break
        if kind == _INET_DIAG_INFO and length >= 4 + _BYTES_RECEIVED_AT + 8:
            return int(struct.unpack_from("=Q", answer, at + 4 + _BYTES_RECEIVED_AT)[0])
        at += (length + 3) & ~3
    return otherwise


def _unacknowledged(sock: socket.socket) -> int:
    """Bytes that the peer's kernel has not taken; none where the connection is dead."""
    try:
        return int(struct.unpack("=i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except OSError:
        return 0
