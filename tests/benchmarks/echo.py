"""The floor: grpcio's own server with a method that gives back what it gets; a process of its own, with --port=PORT."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

PATH = "/echo.Echo/Echo"


def serve(port: int) -> None:
    """Answer until the process is ended."""
    service, method = PATH[1:].split("/")
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("Exporting HTTP/REST API", file=sys.stderr, flush=True)  # the words that all servers are waited for by
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1].removeprefix("--port=")))
