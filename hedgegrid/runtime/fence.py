"""What two threads share where one of them watches the other: a pulse that is written here and read there, and a fence.

Invariants: the pulse has one writer, the thread that is watched, and the fence has one, the thread that watches; what
is read is one integer or one text, so no lock is needed and neither ever waits for the other.
"""


class Pulse:
    """Signs of life of an event loop and of the one whose work matters most in it."""

    __slots__ = ("beats", "moves", "ready")

    def __init__(self) -> None:
        """Nothing has shown itself yet."""
        self.beats = 0
        """Times that the loop came round."""
        self.moves = 0
        """Times that the watched one was seen to have come further, or to have answered."""
        self.ready = 0
        """The newest episode of the fence after which the watched one has started anew."""

    def beat(self, *, moved: bool) -> None:
        """Show that the loop came round, and whether the watched one has moved since the last time."""
        self.beats += 1
        if moved:
            self.moves += 1


class Fence:
    """While it is up nothing may be sent that adds; whoever sends looks at it right before it sends."""

    __slots__ = ("_why", "episode")

    def __init__(self) -> None:
        """It is down."""
        self._why = ""
        self.episode = 0
        """How often it was put up."""

    @property
    def why(self) -> str:
        """Why it is up, "" while it is down."""
        return self._why

    @property
    def is_up(self) -> bool:
        """Whether nothing may be added."""
        return self._why != ""

    def put_up(self, why: str) -> None:
        """Let nothing be added from here on. ``why`` is not empty."""
        assert why, "a fence says why it stands"
        self.episode += 1
        self._why = why

    def take_down(self) -> None:
        """Let things be added again."""
        self._why = ""
