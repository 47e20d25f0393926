"""Errors, split by who must act: the operator, the trainer of a model, or the device that sent a payload.

Every message says what was wrong, where, and what to do about it; the command line prints it as it is.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forewarn.core.readings import Rejection


class ForewarnError(Exception):
    """Anything `forewarn` tells its user instead of showing a traceback."""


class SettingsError(ForewarnError):
    """The operator's settings, files or command line cannot be used."""


class UsageError(SettingsError):
    """An option of the command line cannot be used."""


class ModelError(ForewarnError):
    """A model file cannot be used: missing, damaged, without a card, or not agreeing with its own golden sample."""


class DataError(ForewarnError):
    """A file of history cannot be used: missing, empty, without the columns that were asked for."""


class PayloadError(ForewarnError):
    """One message from a device cannot become a reading."""

    def __init__(self, reason: "Rejection", detail: str = "") -> None:
        """Keep the bounded reason code apart from the free text."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail
