"""Notes and files in an object store: Amazon's S3 and what speaks as it does, Google's GCS, Azure.

An object that is put "if there is none" (`If-None-Match: *` of S3) is written by exactly one of those who try, and each
bears the time of the store's own clock: all that jobs.claims needs of a folder, a bucket has.
"""

from __future__ import annotations

from pathlib import Path

from restore_utils.errors import OutputError, SourceError
from restore_utils.files.parts import replacing

_CLOCK = ".clock"


class Bucket:
    """What files.board.Board does, below a URL such as s3://bucket/job; and whole files.

    Keys, region and another address than Amazon's come from the environment, as the tools of each store read them:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT; GOOGLE_APPLICATION_CREDENTIALS.

    Raises:
        OutputError: the URL is none of a store.
    """

    def __init__(self, url: str) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
        from obstore.store import from_url

        self.url, self._obstore = url, obstore
        self._missing, self._there = (NotFoundError, FileNotFoundError), (AlreadyExistsError, PreconditionError)
        try:
            self._store = from_url(url)
        except (BaseError, ValueError) as error:
            raise OutputError(f"{url} is no place in an object store ({_line(error)}): give s3://bucket/job") from None
        self._failed = BaseError

    # ---- notes ----

    def create(self, name: str, text: str) -> bool:
        """Write a note unless it is there; whether it was not. Of several who try, one alone succeeds."""
        try:
            self._put(name, text.encode(), mode="create")
        except self._there:
            return False
        return True

    def write(self, name: str, text: str) -> None:
        """Write a note over what it was; it is new from now on."""
        self._put(name, text.encode())

    def read(self, name: str) -> str | None:
        """The text of a note; None where there is none."""
        try:
            return bytes(self._obstore.get(self._store, name).bytes()).decode()
        except self._missing:
            return None
        except self._failed as error:
            raise SourceError(f"{self.url}/{name} cannot be read: {_line(error)}") from None

    def remove(self, name: str) -> None:
        """Remove a note or a file, if it is there."""
        try:
            self._obstore.delete(self._store, name)
        except self._missing:
            pass
        except self._failed as error:
            raise OutputError(f"{self.url}/{name} cannot be removed: {_line(error)}") from None

    def times(self, kind: str) -> dict[str, float]:
        """When each note of a kind, without that in its name, was written: seconds by the clock of `now`."""
        try:
            found = [entry for page in self._obstore.list(self._store, prefix=kind) for entry in page]
        except self._failed as error:
            raise SourceError(f"{self.url}/{kind} cannot be listed: {_line(error)}") from None
        return {entry["path"].removeprefix(f"{kind}/"): entry["last_modified"].timestamp() for entry in found}

    def now(self) -> float:
        """Seconds by the clock of the store, which tells the time in whole ones."""
        self._put(_CLOCK, b"")
        return self._obstore.head(self._store, _CLOCK)["last_modified"].timestamp()

    # ---- files ----

    def upload(self, path: Path, name: str) -> None:
        """Put a file, of any size, whole or not at all."""
        self._put(name, path)

    def download(self, name: str, path: Path) -> bool:
        """Bring a file, whole or not at all; whether there is one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = self._obstore.get(self._store, name)
            with replacing(path) as part, part.open("wb") as file:
                for block in found.stream(min_chunk_size=2**22):
                    file.write(block)
            return True
        except self._missing:
            return False
        except self._failed as error:
            raise SourceError(f"{self.url}/{name} cannot be read: {_line(error)}") from None

    def _put(self, name: str, data: bytes | Path, **how: str) -> None:
        try:
            self._obstore.put(self._store, name, data, **how)
        except self._there:
            raise
        except self._failed as error:
            raise OutputError(f"{self.url}/{name} cannot be written: {_line(error)}") from None


def _line(error: Exception) -> str:
    """What a store says, without the records of its own source."""
    return " ".join(str(error).split("\n")[0].split())[:200]
