#!/usr/bin/env python3
"""A handler for `silvertine work … -- trade.py`: a command on stdin, a result on stdout.

Status 0: done. 65: the command makes no sense, do not try again. Anything else: try again.
"""

import json
import os
import sys

EX_DATAERR = 65

try:
    command = json.load(sys.stdin)
    strategy = command["strategy"]
except (ValueError, KeyError) as error:
    print(f"not a command: {error}", file=sys.stderr)
    sys.exit(EX_DATAERR)

# The same at every attempt: hand it to whatever must not act twice.
key = os.environ["SILVERTINE_KEY"]
print(json.dumps({"status": "started", "strategy": strategy, "key": key}))
