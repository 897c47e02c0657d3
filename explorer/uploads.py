"""Files on their way from a form: on the data folder's disk from their first byte, and gone with the request."""

import tempfile
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest


class UploadHandler(FileUploadHandler):
    """A full disk costs the file, not the form, which can then say so (`did_not_fit`)."""

    file: "UploadedFile[Any]"

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        try:
            settings.PLACES.uploads.mkdir(parents=True, exist_ok=True)
            content = tempfile.TemporaryFile(dir=settings.PLACES.uploads)  # noqa: SIM115
        except OSError as why:
            self._note()
            raise SkipFile from why
        self.file = UploadedFile(content, self.file_name, self.content_type, 0, self.charset)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        try:
            self.file.write(raw_data)
        except OSError as why:
            self._drop()
            raise SkipFile from why
        return None

    def file_complete(self, file_size: int) -> "UploadedFile[Any] | None":
        try:
            self.file.seek(0)  # writes what a buffer holds
        except OSError:
            self._drop()
            return None
        self.file.size = file_size
        return self.file

    def upload_interrupted(self) -> None:
        if hasattr(self, "file"):
            self._drop(noted=False)

    def _drop(self, *, noted: bool = True) -> None:
        with suppress(OSError):  # closing it would write what the buffer still holds
            self.file.close()
        del self.file
        if noted:
            self._note()

    def _note(self) -> None:
        _misfits(self.request).append(str(self.file_name))


def did_not_fit(request: HttpRequest) -> list[str]:
    """The names of files that the disk had no room for."""
    _ = request.FILES  # by then all was read
    return _misfits(request)


def _misfits(request: Any) -> list[str]:
    found: list[str] = request.__dict__.setdefault("_did_not_fit", [])
    return found
