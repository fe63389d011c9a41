"""A basket in Cartwheel, from Python, over the client that grpcio-tools makes of kv.proto.

    python -m venv .venv && .venv/bin/pip install grpcio-tools
    .venv/bin/python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/cartwheel/kv/v1/kv.proto
    PYTHONPATH=. .venv/bin/python examples/python/basket.py 127.0.0.1:7400

Two shoppers add to one basket without knowing of each other, and both items stay. Prints what is in it at the end.
"""

import json
import sys
import time
import uuid

import grpc
from cartwheel.kv.v1 import kv_pb2 as kv
from cartwheel.kv.v1 import kv_pb2_grpc

TIMEOUT_S = 5
ATTEMPTS = 5


def failure(error):
    """Why a call failed, as the server says it; None where the transport failed."""
    for name, value in error.trailing_metadata() or ():
        if name == "cartwheel-error-bin":
            return kv.OperationError.FromString(value)
    return None


def put(stub, key, value, context=b""):
    """Writes `value` in place of what `context` covers. However often it is tried, it is one write: by its request id."""
    request = kv.PutRequest(key=key, value=value, context=context, request_id=uuid.uuid4().bytes)
    for attempt in range(ATTEMPTS):
        request.attempt = attempt
        try:
            return stub.Put(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            reason = failure(error)
            refused = reason is not None and reason.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
            if refused or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt)


def items_of(answer):
    """What is in any of the siblings: nothing that was added is lost."""
    return {item for sibling in answer.siblings for item in json.loads(sibling.value)["items"]}


def add(stub, key, item):
    """Reads, merges, and writes with the context of what was read: it replaces that, and nothing else."""
    before = stub.Get(kv.GetRequest(key=key), timeout=TIMEOUT_S)
    items = sorted(items_of(before) | {item})
    return put(stub, key, json.dumps({"items": items}).encode(), before.context)


def session(stub, operations):
    """Many operations on one stream, answered in any order: the fast way."""
    results = {}
    for response in stub.Session(iter([kv.SessionRequest(operations=operations)]), timeout=TIMEOUT_S):
        for result in response.results:
            results[result.id] = result
    return [results[operation.id] for operation in operations]


def main(address):
    key = f"basket-{uuid.uuid4()}".encode()
    with grpc.insecure_channel(address) as channel:
        stub = kv_pb2_grpc.KeyValueServiceStub(channel)

        add(stub, key, "apple")
        # Two that have read the same: neither knows of the other's write.
        seen = stub.Get(kv.GetRequest(key=key), timeout=TIMEOUT_S)
        for item in ("bread", "milk"):
            both = json.dumps({"items": sorted(items_of(seen) | {item})}).encode()
            put(stub, key, both, seen.context)
        concurrent = stub.Get(kv.GetRequest(key=key), timeout=TIMEOUT_S)
        add(stub, key, "pear")
        resolved = stub.Get(kv.GetRequest(key=key), timeout=TIMEOUT_S)

        gets = [kv.Operation(id=n + 1, get=kv.GetRequest(key=key)) for n in range(3)]
        in_session = [sorted(items_of(result.get)) for result in session(stub, gets)]

        try:
            stub.Get(kv.GetRequest(key=b""), timeout=TIMEOUT_S)
            refused = None
        except grpc.RpcError as error:
            refused = kv.Reason.Name(failure(error).reason)

        stub.Delete(kv.DeleteRequest(key=key, context=resolved.context), timeout=TIMEOUT_S)
        gone = stub.Get(kv.GetRequest(key=key), timeout=TIMEOUT_S)

    print(
        json.dumps(
            {
                "siblings": len(concurrent.siblings),
                "items": sorted(items_of(resolved)),
                "afterMerge": len(resolved.siblings),
                "inSession": in_session,
                "refused": refused,
                "afterDelete": len(gone.siblings),
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: basket.py HOST:PORT")
    main(sys.argv[1])
