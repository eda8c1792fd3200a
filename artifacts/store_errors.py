"""Errors that the code of a store raises in words of its own: missing credentials, no answer.

They are no :class:`OSError` and have long tracebacks of others' code; a user needs one line.
"""

from __future__ import annotations

from traceback import walk_tb

from artifacts.errors import Text, UserError

FOREIGN = frozenset(
    {"adlfs", "aiobotocore", "aiohttp", "azure", "boto3", "botocore", "gcsfs", "google"}
    | {"httpx", "huggingface_hub", "requests", "s3fs", "urllib3"}
)
"""Packages that speak with stores."""
CREDENTIALS = (
    "check the address, that its server answers, and the credentials: for S3 AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_ENDPOINT_URL for another server than Amazon's"
)


def is_from_a_store(error: BaseException) -> bool:
    """Whether the code of a store raised this error: one of its own, or a plain one about a value
    it was given, such as an address that is none.
    """
    if any(kind.__module__.partition(".")[0] in FOREIGN for kind in type(error).__mro__):
        return True
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    where = str(frames[-1].f_globals.get("__name__")) if frames else ""
    return isinstance(error, ValueError) and where.partition(".")[0] in FOREIGN


def in_one_line(error: BaseException) -> str:
    """What a store says, with the name of the error."""
    said = " ".join(str(error).split()) or "no answer"
    return f"{type(error).__name__}: {said}"


def unanswered(error: BaseException, file: object = None, message: Text | None = None) -> UserError:
    """The user's error for what a store raised."""
    said = message or "the store does not answer"
    return UserError(said, file=file, found=in_one_line(error), fix=CREDENTIALS)
