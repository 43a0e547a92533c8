"""File systems of paths: local disks, s3://, gs:// and hdfs://; their retries, and their errors in plain words.

Endpoints, regions and keys come from the environment. Every request to a store that does not answer is retried for about
:data:`RETRY_S` seconds, with growing pauses, before it becomes an error.
"""

import errno
import functools
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from raykd.errors import ConfigError, DataError, ResourceError

OBJECT_STORES = ("s3", "gcs", "abfs")
"""File systems (pyarrow's ``type_name``) without renaming, in which a file appears whole or not at all."""

RETRY_S = 90
"""Seconds for which requests to a store are retried: longer than a server's restart, shorter than a collective's timeout."""

_MAX_ATTEMPTS = 11
"""Attempts of one request to S3. The pauses between them are drawn below 1, 2, 4, 8, 16 and then 20 s: about 85 s in all."""

_UNREACHABLE = ("NETWORK_CONNECTION", "SLOW_DOWN", "SERVICE_UNAVAILABLE", "REQUEST_TIMEOUT", "INTERNAL_FAILURE", "curlCode")
_REFUSED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN", "HTTP status 403")


def is_local(path: str) -> bool:
    """True for a path of this machine's file system (which may be a network mount)."""
    return "://" not in path or path.startswith("file://")


def renames_atomically(path: str) -> bool:
    """True when the path's file system renames_atomically files and folders atomically."""
    return open_fs(path)[0].type_name not in OBJECT_STORES


def open_fs(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path, and the path inside it."""
    if is_local(path):
        return _local_fs(), path.removeprefix("file://")
    scheme, _, rest = path.partition("://")
    authority, _, key = rest.partition("/")
    filesystem, base = _remote_fs(scheme, authority)
    return filesystem, posixpath.join(base, key)


@functools.cache
def _local_fs() -> pafs.FileSystem:
    return pafs.LocalFileSystem()


@functools.cache
def _remote_fs(scheme: str, authority: str) -> tuple[pafs.FileSystem, str]:
    """One client per bucket and process: creating one requests the bucket's region from the service."""
    address = f"{scheme}://{authority}"
    user, at, host = authority.rpartition("@")
    if at and ":" in user:
        raise DataError(f"{scheme}://...@{host}: keys do not belong into a path; set them in the environment")
    try:
        filesystem, base = pafs.FileSystem.from_uri(f"{address}/")
    except pa.ArrowInvalid:
        raise DataError(f"{address}: unknown kind of address; use a local path, s3://, gs:// or hdfs://") from None
    except OSError as error:
        raise ResourceError(f"{address} cannot be reached: {_first_line(error)}") from None
    if filesystem.type_name == "s3":
        return _retrying_s3(filesystem.region), base
    if filesystem.type_name == "gcs":
        return pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=RETRY_S)), base
    return filesystem, base


def _retrying_s3(region: str) -> pafs.S3FileSystem:
    """An S3 client with more retries: pyarrow's default gives up after three attempts, in a second or two."""
    given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    endpoint = {}
    if given:
        url = urlsplit(given)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ConfigError(f"AWS_ENDPOINT_URL = {given!r}: give the service's address, for example http://127.0.0.1:9000")
        endpoint = {"endpoint_override": url.netloc, "scheme": url.scheme}
    return pafs.S3FileSystem(
        region=region, retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_MAX_ATTEMPTS), **endpoint
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def path_errors(path: str) -> Iterator[None]:
    """Convert errors of the operating system or a store into DataError or ResourceError with the path and a remedy."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (IsADirectoryError, NotADirectoryError):
        raise DataError(f"{path} is a folder where a file is needed, or a file where a folder is needed") from None
    except OSError as error:
        if is_local(path):
            reason, help_ = error.strerror or _first_line(error), _local_help(error.errno)
        else:
            reason, help_ = _first_line(error), _remote_help(str(error))
        raise ResourceError(f"{path}: {reason}; {help_}") from None


def _local_help(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free space there, or choose another folder"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "change its permissions, or choose another folder"
    if number == errno.ENAMETOOLONG:
        return "choose a shorter name"
    if number in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files (ulimit -n)"
    return "choose another folder"


def _remote_help(text: str) -> str:
    if any(word in text for word in _REFUSED):
        return "check that the keys in the environment (AWS_ACCESS_KEY_ID, ...) have this permission"
    if any(word in text for word in _UNREACHABLE):
        return (
            f"the store did not answer for about {RETRY_S} s; check that it is running, and that AWS_ENDPOINT_URL and the "
            "network reach it"
        )
    return "check bucket, address and region"
