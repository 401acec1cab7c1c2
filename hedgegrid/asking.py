"""Ask a running account over its interface, and wait in bounds for its word that something is done.

Invariants: a command that gets no answer ends with one line that says so, and a code; what an account was told is
never called done before the account itself has said it.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hedgegrid.errors import Fatal
from hedgegrid.running import EXIT_BAD_INPUT, EXIT_FAILED, fail, load_account

if TYPE_CHECKING:
    from hedgegrid.config.schema import AccountConfig
    from hedgegrid.ops.client import ApiClient

Told = Mapping[str, Any]
"""What `status` answers."""
CONFIRM_S = 10.0
"""What a running account gets to say that a control is done."""
LOOK_S = 0.05
"""How often it is asked."""


def open_client(account: "AccountConfig", *, control: bool) -> "ApiClient":
    """Make the client of a config's account. Ends the command where the token cannot be had."""
    if control and account.ops.control_token is None:
        fail("the config has no [ops] control_token: set one, and start the account with it", EXIT_BAD_INPUT)
    try:
        return client_of(account, control=control)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)


def client_of(account: "AccountConfig", *, control: bool) -> "ApiClient":
    """Make the client of an account. Raises Fatal where the token cannot be had."""
    from hedgegrid.config.secrets import SecretError
    from hedgegrid.config.values import split_listen
    from hedgegrid.ops.client import ApiClient, identity

    ops, named = account.ops, identity(account.account.name, account.account.mode)
    # Without a token of its own reading needs none.
    setting, reference = ("control_token", ops.control_token) if control else ("read_token", ops.read_token)
    try:
        token = None if reference is None else reference.resolve().reveal()
        return ApiClient(split_listen(ops.listen), account=named, token=token, setting=setting, ca_file=ops.tls_cert)
    except SecretError as error:
        also = "; `hedgegrid kill` needs none" if control else ""
        raise Fatal(f"{error}: [ops] {setting} asks for it{also}") from error
    except OSError as error:
        raise Fatal(str(error)) from error


def ask(config: Path | None, path: str, body: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Read a route, or post to it. Ends the command where nobody answers."""
    return ask_with(open_client(load_account(config, {}), control=body is not None), path, body)


def ask_with(
    client: "ApiClient", path: str, body: dict[str, object] | None, dead: str = "is the account running?"
) -> Any:  # noqa: ANN401 - JSON
    """Read a route, or post to it. Ends the command where nobody answers; ``dead`` says what then helps."""
    from hedgegrid.ops.client import NoAnswerError

    try:
        return client.get(path) if body is None else client.post(path, body)
    except NoAnswerError as error:
        fail(f"{error}; {dead}", EXIT_BAD_INPUT)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)


def ask_until(
    config: Path | None, path: str, body: dict[str, object], done: Callable[[Told], bool], *, dead: str
) -> tuple[Told, bool]:
    """Ask a running account for something and wait, in bounds, for its word that it is done; give that, and whether.

    Ends the command where nobody answers; ``dead`` says what helps where the account does not run.
    """
    from hedgegrid.ops.client import NoAnswerError

    client = open_client(load_account(config, {}), control=True)
    ask_with(client, path, body, dead)
    until_s = time.monotonic() + CONFIRM_S
    while True:
        try:
            told: Told = client.get("/api/v1/status")
        except NoAnswerError:
            told = {}
        except Fatal as error:
            fail(str(error), EXIT_BAD_INPUT)
        if told and done(told):
            return told, True
        if time.monotonic() >= until_s:
            return told, False
        time.sleep(LOOK_S)


def unheard(what: str) -> NoReturn:
    """End the command where the account took the word and did not say that it was done."""
    fail(f"asked for: {what}; not done within {CONFIRM_S:g} s: `hedgegrid status` tells how it stands", EXIT_FAILED)


def reasons_in(told: Told) -> set[str]:
    """Give the reasons that hold entries back."""
    return {one["reason"] for one in told.get("reasons", ())}


def entries_in(told: Told) -> int | None:
    """Count the entries that rest; None while an instrument's orders are not known."""
    counts = [leg["entries"] for one in told["instruments"] for leg in one["legs"]]
    return None if None in counts else sum(counts)
