"""What clients reach: ZeroMQ sockets, requests and replies, notices."""
