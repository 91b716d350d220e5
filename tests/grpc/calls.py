"""gRPC calls between a client and a server of grpcio, without generated code: messages are bytes.

    calls.py server PORT
    calls.py client PORT LOG [FIRST READY GO]

The client makes 23 calls of every kind and writes what it knows of each as a line of JSON into LOG. With
FIRST it makes that many calls before, on the same connection, creates the file READY and waits for GO."""

import json
import os
import sys
import time
from concurrent import futures

import grpc

NAME = "tawon.test.Greeter"


def say(request, context):
    context.send_initial_metadata((("x-initial", "one"),))
    context.set_trailing_metadata((("x-trailing", "two"),))
    return request[::-1]


def refuse(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100% gone\n")


def many(request, context):
    for number in range(7):
        yield request + bytes([number])


def count(requests, context):
    return b"%d" % sum(1 for _ in requests)


def echo(requests, context):
    yield from requests


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Count": grpc.stream_unary_rpc_method_handler(count),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination(300)


def call(channel, method, sent, streams_up, streams_down):
    """One call; what the client knows of it."""
    path = f"/{NAME}/{method}"
    kind = f"{'stream' if streams_up else 'unary'}_{'stream' if streams_down else 'unary'}"
    stub = getattr(channel, kind)(path)
    request = iter(sent) if streams_up else sent[0]
    metadata = (("x-call", method),)
    received, trailing = [], None
    try:
        if streams_down:
            done = stub(request, metadata=metadata, timeout=20)
            received = list(done)
        else:
            answer, done = stub.with_call(request, metadata=metadata, timeout=20)
            received = [answer]
    except grpc.RpcError as error:
        done = error
    trailing = [[key, value] for key, value in done.trailing_metadata() or ()]
    return {
        "path": path,
        "status": done.code().value[0],
        "message": done.details(),
        "up": [len(message) for message in sent],
        "down": [len(message) for message in received],
        "trailing": trailing,
    }


def calls(channel):
    for number in range(10):
        yield call(channel, "Say", [b"hello" * number * number * 100], False, False)
    for _ in range(3):
        yield call(channel, "Refuse", [b"x"], False, False)
    yield call(channel, "NotThere", [b"x"], False, False)
    for _ in range(3):
        yield call(channel, "Many", [b"m" * 100], False, True)
    for _ in range(3):
        yield call(channel, "Count", [b"1", b"", b"333", b"4" * 40000, b"5"], True, False)
    for _ in range(3):
        yield call(channel, "Echo", [b"a", b"bb", b"ccc", b"d" * 20000], True, True)


def ask(port, log, first=0, ready=None, go=None):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    grpc.channel_ready_future(channel).result(20)
    if int(first):
        for number in range(int(first)):
            call(channel, "Say", [b"before"], False, False)
        open(ready, "w").close()
        until = time.monotonic() + 60
        while not os.path.exists(go):
            if time.monotonic() > until:
                sys.exit(f"no {go}")
            time.sleep(0.02)
    with open(log, "w") as out:
        for made in calls(channel):
            out.write(json.dumps(made) + "\n")
    channel.close()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(*sys.argv[2:])
    else:
        ask(*sys.argv[2:])
