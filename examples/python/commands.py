#!/usr/bin/env python3
"""A Python service that talks to Silvertine workers over Redis Streams, with nothing but redis-py.

    commands.py publish URL [COUNT]     publish COUNT commands to mgmt:trading:commands
    commands.py consume URL [COUNT]     handle COUNT results from trading:mgmt:results

A message is a stream entry: the field `data` is the payload, all other fields are headers. `codec` says how
the payload is written, `key` recognises a message that is published twice.
"""

import json
import sys
import time

import redis

COMMANDS = "mgmt:trading:commands"
RESULTS = "trading:mgmt:results"
GROUP = "management_consumers"
CONSUMER = "python-1"


def publish(server: redis.Redis, count: int) -> None:
    for number in range(1, count + 1):
        command = {"command": "start", "strategy": f"ema-{number}"}
        server.xadd(
            COMMANDS,
            {
                "type": "start",
                "codec": "json",
                "key": f"python-command-{number}",
                "data": json.dumps(command),
            },
        )
    print(f"{count} commands published")


def consume(server: redis.Redis, count: int) -> None:
    try:
        server.xgroup_create(RESULTS, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    handled = 0
    deadline = time.monotonic() + 30
    # First what this consumer was handed before and did not acknowledge, then what is new.
    position = "0"
    while handled < count:
        if time.monotonic() > deadline:
            sys.exit(f"only {handled} of {count} results came")
        streams = server.xreadgroup(GROUP, CONSUMER, {RESULTS: position}, count=10, block=1000)
        messages = streams[0][1] if streams else []
        if not messages:
            position = ">"
            continue
        for entry_id, fields in messages:
            result = json.loads(fields["data"])
            print(f"{fields.get('key')}: {result['status']} {result['strategy']}")
            server.xack(RESULTS, GROUP, entry_id)
            handled += 1
    print(f"{handled} results handled")


def main() -> None:
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("publish", "consume"):
        sys.exit(__doc__)
    server = redis.Redis.from_url(sys.argv[2], decode_responses=True)
    count = int(sys.argv[3]) if len(sys.argv) == 4 else 3
    {"publish": publish, "consume": consume}[sys.argv[1]](server, count)


if __name__ == "__main__":
    main()
