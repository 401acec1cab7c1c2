"""A client of a running account's HTTP interface, for the commands that control it.

Invariants: one request, one answer, within a time; the token goes into a header and never into a message; a server
that does not answer is told apart from one that refuses.
"""

import json
import ssl
from http import HTTPStatus
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from hedgegrid.errors import Fatal

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 4_000_000
ACCOUNT_HEADER: Final = "x-hedgegrid-account"
"""What says which account a request is for: a server of another one does not take it."""
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a wildcard is reached from here


class NoAnswerError(Exception):
    """Nobody listens there, or another account does: the account does not run, or elsewhere."""


def identity(name: str, mode: str) -> str:
    """Say which account it is: a practice account may bear the name of the real one."""
    return f"{name} ({mode})"


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # noqa: ANN401 - urllib's own signature
        """Follow no redirect: a token goes to the account alone."""


class ApiClient:
    """Speaks to one account."""

    def __init__(
        self, listen: tuple[str, int], *, account: str, token: str | None, setting: str, ca_file: str | None = None
    ) -> None:
        """Speak to ``listen``; ``token`` is the bearer token, ``ca_file`` the certificate that the server shows.

        ``account`` is the one that is meant, by its ``identity``; ``setting`` the one that the token is from, or would
        be.
        """
        host, port = listen
        self._setting = setting
        host = _WILDCARDS.get(host, host)
        named = f"[{host}]" if ":" in host else host
        self.origin = f"{'http' if ca_file is None else 'https'}://{named}:{port}"
        self._account = account
        self._headers = {"accept": "application/json", ACCOUNT_HEADER: account}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        handlers: list[Any] = [ProxyHandler({}), _NoRedirect()]
        if ca_file is not None:
            context = ssl.create_default_context(cafile=ca_file)
            # The certificate itself is the trust; its name may be the outside one.
            context.check_hostname = False
            handlers.append(HTTPSHandler(context=context))
        self._opener = build_opener(*handlers)

    def get(self, path: str) -> Any:  # noqa: ANN401 - what JSON gives
        """Read a route. Raises NoAnswerError, or Fatal where the server refuses."""
        return self._ask(Request(self.origin + path, headers=self._headers))  # noqa: S310 - http(s) by construction

    def post(self, path: str, body: dict[str, object]) -> Any:  # noqa: ANN401 - what JSON gives
        """Ask for something. Raises NoAnswerError, or Fatal where the server refuses."""
        headers = self._headers | {"content-type": "application/json"}
        return self._ask(
            Request(self.origin + path, data=json.dumps(body).encode(), headers=headers, method="POST")  # noqa: S310
        )

    def _ask(self, request: Request) -> Any:  # noqa: ANN401 - what JSON gives
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read(ANSWER_BYTES_MAX))
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.MISDIRECTED_REQUEST:
                    raise NoAnswerError(f"{self.origin} is another account's, not that of {self._account}") from None
                raise Fatal(_refusal(self.origin, self._setting, error)) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise NoAnswerError(f"{self.origin} does not answer: {reason}") from None
        except ValueError:
            raise Fatal(f"{self.origin} answered something that is no JSON: another program listens there") from None


def _refusal(origin: str, setting: str, error: HTTPError) -> str:
    """Say in words why the server refused."""
    if error.code == HTTPStatus.UNAUTHORIZED:
        return f"{origin} wants another token: [ops] {setting} of the config must be the running account's"
    try:
        detail = json.loads(error.read(ANSWER_BYTES_MAX)).get("detail", "")
    except (ValueError, AttributeError):
        detail = ""
    return f"{origin} refused with {error.code}: {detail or error.reason}"
