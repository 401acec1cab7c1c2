"""Secrets are named in a config by reference and read at the moment of use.

Invariants: a config holds only `SecretRef`s, so that it can be shown, hashed and stored whole; the text of a
secret lives in a `Secret` alone, which shows itself as `***` everywhere and leaves only through `reveal`; no
error of this module repeats what was read or written in its place.
"""

import hmac
import os
import re
import stat
from typing import Final, NoReturn, final

import attrs

from hedgegrid.errors import Fatal

TOKEN_CHARS_MIN: Final = 8
"""Characters of a token of ours: what is shorter is guessed, and found in words that are none."""
_BYTES_MAX: Final = 65_536
_PATH_CHARS_MAX: Final = 4_096
_FORM: Final = 'a secret is never written inline: use { env = "NAME" } or { file = "path" }'
_ENV: Final = 'expected { env = "NAME" } with the name of an environment variable in capitals, digits and _'
_FILE: Final = 'expected { file = "path" } with the path of a file of mode 0600'


class SecretError(Fatal):
    """A referenced secret cannot be had; the message names the reference and never the value."""


@final
class Secret:
    """The text of a secret: shown as `***`, refused to pickle, compared in constant time."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Keep `text`; it leaves only through `reveal`."""
        self._text = text

    def reveal(self) -> str:
        """Give the text to the one caller that must send it."""
        return self._text

    def __repr__(self) -> str:
        """Show that there is a secret, not which."""
        return "***"

    def __eq__(self, other: object) -> bool:
        """Compare without telling by the time taken where two secrets differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a fingerprint of it

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: a pickle would hold the text."""
        raise TypeError("a secret is not pickled")


@attrs.frozen(kw_only=True)
class SecretRef:
    """Where a secret is: exactly one of an environment variable and a file of mode 0600."""

    env: str | None = None
    file: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse anything but one well-formed reference.

        Raises:
            ValueError: none or both are given, or the name or path is malformed; nothing given is repeated.
        """
        if (self.env is None) == (self.file is None):
            raise ValueError(_FORM)
        # Capitals only: a pasted API key (mixed case) must not pass for the name of a variable.
        if self.env is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.env):
            raise ValueError(_ENV)
        if self.file is not None and not (0 < len(self.file) <= _PATH_CHARS_MAX and self.file.isprintable()):
            raise ValueError(_FILE)

    @property
    def reference(self) -> str:
        """The reference in words, for messages."""
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def resolve(self) -> Secret:
        """Read the secret now; surrounding white space is not part of it.

        Raises:
            SecretError: the variable is not set; the file is missing, not regular, not ours, readable by
                others, too large or not UTF-8; or the secret is empty.
        """
        text = os.environ.get(self.env) if self.env is not None else _read_private(self.file or "")
        if text is None:
            raise SecretError(f"{self.reference} is not set")
        if not text.strip():
            raise SecretError(f"{self.reference} is empty")
        return Secret(text.strip())


def parse_reference(raw: object) -> SecretRef:
    """Make the reference that a TOML value stands for.

    Raises:
        ValueError: it is not `{ env = "NAME" }` or `{ file = "path" }`; the message repeats nothing of it.
    """
    if not isinstance(raw, dict) or len(raw) != 1 or not raw.keys() <= {"env", "file"}:
        raise ValueError(_FORM)
    if "env" in raw:
        if not isinstance(raw["env"], str):
            raise ValueError(_ENV)  # a fault of the file, not of a caller
        return SecretRef(env=raw["env"])
    if not isinstance(raw["file"], str):
        raise ValueError(_FILE)  # noqa: TRY004  # a fault of the file, not of a caller
    return SecretRef(file=raw["file"])


def _read_private(path: str) -> str:
    """Read a file that only its owner, us, can read.

    Raises:
        SecretError: it cannot be read, or is not such a file.
    """
    try:
        # Non-blocking: a FIFO in place of the file must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The open file is judged, not the path: the path could change between the two.
            why = _privacy_fault(os.fstat(descriptor))
            content = b"" if why is not None else os.read(descriptor, _BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as fault:
        raise SecretError(f"file {path}: {fault.strerror}") from None
    if why is not None:
        raise SecretError(f"file {path}: {why}")
    return _decoded(content, path)


def _privacy_fault(status: os.stat_result) -> str | None:
    """Why a file with this status must not hold a secret."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~0o600:
        return f"has mode {mode:04o}; a secret's file must have 0600 (chmod 600)"
    return None


def _decoded(content: bytes, path: str) -> str:
    """Decode what a secret's file holds.

    Raises:
        SecretError: it is too large or not UTF-8.
    """
    if len(content) > _BYTES_MAX:
        raise SecretError(f"file {path}: is larger than {_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(f"file {path}: is not UTF-8 text") from None
