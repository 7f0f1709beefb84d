"""Every error omnireid raises on purpose, in one tree.

::

    OmnireidError
    ├── ImageError                 a crop that cannot be turned into pixels
    │   └── ImageTooLargeError     more pixels than a crop can have
    ├── DataError                  a data set or a list of crops that cannot be used
    │   ├── DataNotFoundError      no such folder or file, or nothing in it
    │   ├── UnknownLayoutError     the folder looks like no known data set
    │   ├── IncompleteDatasetError a known layout with a part missing
    │   └── ManifestError          a manifest whose columns or values are wrong
    ├── WeightsError               a file of weights that cannot be used
    │   ├── WeightsNotFoundError   no such file and no such name
    │   ├── CheckpointError        unreadable, truncated, altered or not weights at all
    │   ├── UnsafeCheckpointError  a pickle with code in it; it was not run
    │   ├── CoverageError          weights of another architecture, or only part of them
    │   └── DownloadError          a download that failed or has another checksum
    ├── ModelError                 no such architecture, runtime, precision or device
    ├── DeviceMemoryError          the device has too little memory for the batch
    ├── ExportError                weights that cannot be exported as asked
    │   └── ParityError            the exported graph gives other embeddings; it was not written
    ├── ExplanationError           weights that do not show how their embeddings come about
    ├── ShapeError                 arrays that disagree in length, width or type
    ├── LabelsError                person or camera ids that cannot be used as asked
    ├── EmbeddingError             embeddings that are not finite, or cannot be compared
    ├── GalleryError               a gallery that is damaged, is none, or is used in a fork
    │   ├── GalleryModelError      embeddings or weights of another model than the gallery's
    │   ├── FilterError            a filter that is none, or names an unknown column
    │   ├── NotInGalleryError      no such person, sighting, decision or question
    │   └── DecisionError          a decision that does not fit who is who now
    ├── TrackingError              boxes, tracks or a video that cannot be used
    ├── CalibrationError           a calibration of other weights, of too few pairs, or a damaged one
    ├── NoTrueMatchError           no query has a true match
    ├── SettingError               a setting out of range, or useless with the others
    │   └── RecipeError            a value of a recipe that cannot be used
    ├── TrainingError              a training run that cannot continue
    │   ├── NonFiniteLossError     the loss became NaN or infinite; the batch was kept
    │   ├── ResumeError            the run was made with another recipe, data set or number of ranks
    │   ├── TeacherError           a teacher that cannot be imitated
    │   └── RankError              another rank of a distributed run is lost
    ├── OutputError                a result that cannot be written
    │   ├── BrokerError            the broker of messages cannot be reached or does not confirm them
    │   ├── OutputInUseError       another process is writing it
    │   └── DiskFullError          no space is left
    ├── ServiceError               a request that the service refuses, or a service that does not answer
    │   ├── RequestError           a request that is malformed
    │   ├── TokenError             no token, or one that is unknown or revoked
    │   ├── RoleError              a token whose role does not allow this, or a page of another site
    │   ├── RequestTooLargeError   more bytes than the service takes
    │   ├── MediaTypeError         a file that is no picture of a format the service takes
    │   ├── RateLimitError         too many requests in a short time
    │   └── BusyError              too much is waiting already
    ├── ClusterError               a cluster that cannot be reached, or is lost
    ├── MissingDependencyError     an optional library is not installed
    └── StoppedError               the user pressed Ctrl-C; finished work is kept

A message says what is wrong, what was found, where, and what to do next. The
command line prints it without a traceback and exits with code 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

__all__ = [
    "BrokerError",
    "BusyError",
    "CalibrationError",
    "CheckpointError",
    "ClusterError",
    "CoverageError",
    "DataError",
    "DataNotFoundError",
    "DecisionError",
    "DeviceMemoryError",
    "DiskFullError",
    "DownloadError",
    "EmbeddingError",
    "ExplanationError",
    "ExportError",
    "FilterError",
    "GalleryError",
    "GalleryModelError",
    "ImageError",
    "ImageTooLargeError",
    "IncompleteDatasetError",
    "LabelsError",
    "ManifestError",
    "MediaTypeError",
    "MissingDependencyError",
    "ModelError",
    "NoTrueMatchError",
    "NonFiniteLossError",
    "NotInGalleryError",
    "OmnireidError",
    "OutputError",
    "OutputInUseError",
    "ParityError",
    "RankError",
    "RateLimitError",
    "RecipeError",
    "RequestError",
    "RequestTooLargeError",
    "ResumeError",
    "RoleError",
    "ServiceError",
    "SettingError",
    "ShapeError",
    "StoppedError",
    "TeacherError",
    "TokenError",
    "TrackingError",
    "TrainingError",
    "UnknownLayoutError",
    "UnsafeCheckpointError",
    "WeightsError",
    "WeightsNotFoundError",
]


class OmnireidError(Exception):
    """Base class of every error omnireid raises on purpose."""


class ImageError(OmnireidError):
    """A crop that cannot be turned into pixels; the message names the file."""


class ImageTooLargeError(ImageError):
    """An image with more pixels than a crop can have (a decompression bomb, or a whole scene)."""


class DataError(OmnireidError):
    """A data set, folder or list of crops that cannot be used."""


class DataNotFoundError(DataError):
    """The folder or file does not exist, or there is no crop in it."""


class UnknownLayoutError(DataError):
    """The folder looks like no known data set, or no such layout exists."""


class IncompleteDatasetError(DataError):
    """A known layout with a folder, list or image missing."""


class ManifestError(DataError):
    """A manifest whose columns or values are wrong; the message names row and column."""


class WeightsError(OmnireidError):
    """A file of weights that cannot be used."""


class WeightsNotFoundError(WeightsError):
    """Neither a file nor known weights have this name."""


class CheckpointError(WeightsError):
    """A file that is unreadable, truncated, altered, or not weights at all."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that would run code when loaded. It was not run."""


class CoverageError(WeightsError):
    """Weights that do not cover the backbone: they belong to another architecture, or are only part of it."""


class DownloadError(WeightsError):
    """A download that failed, or whose SHA-256 is not the expected one."""


class ModelError(OmnireidError):
    """An architecture, runtime, precision or device that does not exist, or not on this machine."""


class DeviceMemoryError(OmnireidError):
    """The device has too little memory for the batch and the resolution asked for."""


class ExportError(OmnireidError):
    """Weights that cannot be exported as asked."""


class ParityError(ExportError):
    """An exported graph gives other embeddings than its weights. It was not written; the message names the layer."""


class ExplanationError(OmnireidError):
    """Weights that do not show how their embeddings come about; the message says what is possible instead."""


class ShapeError(OmnireidError):
    """Arrays that disagree in length, width, number of axes or type."""


class LabelsError(OmnireidError):
    """Person or camera ids that cannot be used as asked."""


class EmbeddingError(OmnireidError):
    """Embeddings that are not finite, or were made by different weights."""


class GalleryError(OmnireidError):
    """A gallery that is damaged or incomplete, is no gallery, or is used after a fork."""


class GalleryModelError(GalleryError):
    """Embeddings or weights of another model than the one that the gallery belongs to."""


class FilterError(GalleryError):
    """A filter that cannot be read, or names a column that the gallery does not have."""


class NotInGalleryError(GalleryError):
    """The gallery has no such person, sighting, decision or question."""


class DecisionError(GalleryError):
    """A decision that does not fit who is who now; the message says what to decide instead."""


class TrackingError(OmnireidError):
    """Boxes, tracks or a video cannot be used."""


class CalibrationError(OmnireidError):
    """A calibration that belongs to other weights, cannot be fitted on the pairs there are, or is damaged."""


class NoTrueMatchError(OmnireidError):
    """No query has a true match in the gallery, so there is nothing to score."""


class SettingError(OmnireidError):
    """A setting that is out of range, or has no effect together with the others; the message names it."""


class RecipeError(SettingError):
    """A value of a recipe that cannot be used or does not fit the data; the message names the flag."""


class TrainingError(OmnireidError):
    """A training run that cannot continue."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite. The last good checkpoint and the batch were kept."""


class TeacherError(TrainingError):
    """A teacher that cannot be imitated: its embeddings are not finite or have no direction, or no loss uses it."""


class ResumeError(TrainingError):
    """A run that cannot be resumed, because its recipe, data set, network or number of ranks differs."""


class RankError(TrainingError):
    """Another rank of a distributed run was lost."""


class OutputError(OmnireidError):
    """A result that cannot be written to the given place."""


class BrokerError(OutputError):
    """A message broker that cannot be reached, refuses the connection, or does not confirm what it was sent."""


class OutputInUseError(OutputError):
    """Another process is writing the same output."""


class DiskFullError(OutputError):
    """No space is left on the disk; what was there before is untouched."""


class ServiceError(OmnireidError):
    """The service refused a request, failed, or does not answer."""


class RequestError(ServiceError):
    """A malformed request; the message names the field."""


class TokenError(ServiceError):
    """A request without a token, or with one that is unknown or revoked."""


class RoleError(ServiceError):
    """A request that the token's role does not allow, or that a page of another site made."""


class RequestTooLargeError(ServiceError):
    """A request with more bytes or crops than the service takes. It was not read."""


class MediaTypeError(ServiceError):
    """A file that is no picture of a format that the service takes. It was not decoded."""


class RateLimitError(ServiceError):
    """Too many requests in a short time; the message says when to try again."""


class BusyError(ServiceError):
    """Too many requests wait already, or one took too long. Nothing was changed."""


class ClusterError(OmnireidError):
    """A cluster of machines that cannot be reached or started, or that is lost."""


class MissingDependencyError(OmnireidError):
    """An optional library is not installed; the message gives the command that installs it."""


class StoppedError(OmnireidError):
    """The user pressed Ctrl-C; the message says what was kept and how to resume."""


def error_class(name: str) -> type[OmnireidError] | None:
    """The error of a name; None where there is no such one."""
    found: type[OmnireidError] | None = globals()[name] if name in __all__ else None
    return found


def first_line(error: BaseException) -> str:
    """The first line of another library's error message, or the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def last_line(error: BaseException) -> str:
    """The last line of another library's error message, or the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def list_briefly(values: Sequence[object], count: int = 3) -> str:
    """The first few of `values`, and how many more there are, for a message."""
    text = ", ".join(str(value) for value in values[:count])
    return text if len(values) <= count else f"{text} and {len(values) - count:,} more"


def newer_format(place: object, found: object, known: int) -> str:
    """The text of an error about a file in a format that only a newer omnireid reads.

    Args:
        place: Path of the file.
        found: Format that the file names.
        known: Latest format that this version reads.
    """
    return (
        f"{place} was written by a newer omnireid (format {found}, this one reads up to {known}). "
        "Upgrade with: pip install --upgrade omnireid"
    )


def require(library: str, extra: str | None, purpose: str) -> None:
    """Check that a library can be imported.

    Args:
        library: Name of the module.
        extra: Extra of omnireid that installs it; None for a library of the core install.
        purpose: What needs it, as the beginning of a sentence, such as ``Drawing curves``.

    Raises:
        MissingDependencyError: it is not installed, or its import fails, in whatever way; the message says which.
    """
    package = library if extra is None else f"'omnireid[{extra}]'"
    try:
        import_module(library)
    except Exception as error:
        # A library may fail in its own ways, such as a RuntimeError where there is no home directory.
        if (
            isinstance(error, ModuleNotFoundError)
            and (error.name or library).split(".")[0] == library.split(".", maxsplit=1)[0]
        ):
            raise MissingDependencyError(
                f"{purpose} needs {library}, which is not installed. Install it with: pip install {package}"
            ) from error
        reason = first_line(error).rstrip(".")
        raise MissingDependencyError(
            f"{purpose} needs {library}, which is installed but cannot be imported: {reason}. Install it "
            f"again with: pip install --force-reinstall {package}"
        ) from error
