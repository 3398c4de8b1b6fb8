#!/usr/bin/env python3
"""A producer: publishes quotes to the ingress of a Silvertine partition, each exactly once.

    producer.py URL STATE [COUNT]       publish the next COUNT (100) quotes; STATE is a file

How a message gets there once, although the producer, the connection or the server may fail at any moment:

1. The producer numbers its messages itself, from 1. The number is the id of the Redis stream entry.
2. Before it sends a message, it writes the message and its number to STATE, and syncs the file.
3. It sends until the server has answered. After an error it sends the same message under the same number again.
   Redis refuses a number that is not above the last one: then the message had arrived, and its answer was lost.
4. A producer that is started again first sends what STATE holds, because nobody knows whether it arrived.

One producer name belongs to one process at a time.
"""

import json
import os
import sys
import time

import redis

PARTITION = "live-demo"
PRODUCER = "feed-a"
STREAM = f"sv:{{{PARTITION}}}:in:{PRODUCER}"
PRODUCERS = f"sv:{{{PARTITION}}}:producers"


class State:
    """The last message that was numbered, in a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, encoding="utf-8") as file:
                last = json.load(file)
        except FileNotFoundError:
            last = {"seq": 0, "payload": None}
        self.seq: int = last["seq"]
        self.payload: str | None = last["payload"]

    def number(self, payload: str) -> None:
        """Gives the payload the next number, on disk before anybody sees it."""
        self.seq += 1
        self.payload = payload
        # A new file that replaces the old one: a crash leaves either of them whole.
        fresh = f"{self.path}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump({"seq": self.seq, "payload": payload}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        folder = os.open(os.path.dirname(os.path.abspath(self.path)), os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def send(server: redis.Redis, state: State) -> bool:
    """Sends the last message until it is there. Returns whether it had been there before."""
    pause = 0.05
    while True:
        try:
            server.sadd(PRODUCERS, PRODUCER)
            server.xadd(STREAM, {"c": "json", "e": state.payload}, id=f"{state.seq}-0")
            return False
        except (redis.ConnectionError, redis.TimeoutError) as error:
            print(f"{error}; trying again in {pause:.2f} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
        except redis.ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            return True


def quote(number: int) -> str:
    """A quote around a price that rises and falls."""
    mid = 100 + abs(number % 40 - 20)
    body = {"symbol": "DEMO", "bid": f"{mid}", "bid_qty": "5", "ask": f"{mid}.02", "ask_qty": "5"}
    return json.dumps({"event_time": time.time_ns(), "body": {"market_data": {"quote": body}}})


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    server = redis.Redis.from_url(sys.argv[1], socket_timeout=5)
    state = State(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) == 4 else 100
    if state.payload is not None:
        arrived = "had arrived" if send(server, state) else "had not arrived, and has now"
        print(f"message {state.seq}, the last one of the run before, {arrived}")
    for _ in range(count):
        state.number(quote(state.seq + 1))
        send(server, state)
    print(f"{count} quotes published, the last one is number {state.seq}")


if __name__ == "__main__":
    main()
