"""Changing a request on its way, as if its sender had sent it so: a shorter batch, a later timestamp.

Invariant: the changed request carries a valid signature, so the exchange judges it by everything else.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import attrs

from tools.standin.wire import Call

_ROWS = "batchOrders"
_SIGNATURE = "signature"


def resigned(call: Call, keys: Mapping[str, str], changes: Mapping[str, str]) -> Call:
    """Give the request with other values for parameters that it has, signed anew with its key's secret."""
    plain = call.transport == "ws"
    parts = [_read(text, plain=plain) for text in (call.query, call.body)]
    signed = next((index for index, part in enumerate(parts) if _SIGNATURE in part), 0)
    for part in parts:
        part.pop(_SIGNATURE, None)
        part.update({name: value for name, value in changes.items() if name in part})
    texts = ["&".join(map("=".join, part.items())) if plain else urlencode(part) for part in parts]
    secret = keys.get(call.api_key, "").encode()
    signature = hmac.new(secret, "".join(texts).encode(), hashlib.sha256).hexdigest()
    texts[signed] += f"{'&' if texts[signed] else ''}{_SIGNATURE}={signature}"
    return attrs.evolve(call, query=texts[0], body=texts[1])


def without_rows(call: Call, count: int, keys: Mapping[str, str]) -> tuple[Call | None, int]:
    """Give the batch without its last ``count`` rows, None where none is left, and how many rows were taken."""
    rows = json.loads(call.params[_ROWS])
    kept = rows[: max(0, len(rows) - count)]
    if not kept:
        return None, len(rows)
    return resigned(call, keys, {_ROWS: json.dumps(kept, separators=(",", ":"))}), len(rows) - len(kept)


def _read(text: str, *, plain: bool) -> dict[str, str]:
    if plain:
        return dict(part.partition("=")[::2] for part in text.split("&") if part)
    return dict(parse_qsl(text, keep_blank_values=True))
