"""Dead letters: what could not be used, and why."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """One line of `rejected.jsonl`.

    Attributes:
        path: the file, as the user knows it.
        reason: why it can't be used, and where there is one, the remedy.
    """

    path: str
    reason: str

    def to_json(self) -> str:
        """The line, without its end."""
        return json.dumps({"path": self.path, "reason": self.reason}, ensure_ascii=False)
