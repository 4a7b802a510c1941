"""The exceptions that the runtime raises on purpose; a front door shows each as one line."""


class SerStreamError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(SerStreamError, ValueError):
    """A setting that cannot work; the message names the setting to change."""


class CommandLineError(SerStreamError):
    """A command line that cannot be meant; the message says what to type."""


class AudioError(SerStreamError):
    """Audio that cannot be read or used: missing, empty, truncated, not finite, too short."""


class DeviceError(SerStreamError):
    """An audio device that cannot be found or opened, or that stopped delivering."""


class BundleError(SerStreamError):
    """A model file that is not a usable ser-stream bundle."""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type's name if it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
