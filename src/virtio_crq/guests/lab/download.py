# SPDX-License-Identifier: Apache-2.0
"""Fetching packages: several at a time, continued after an interruption, and taken only when their hash is right."""

import errno
import hashlib
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.report import Report

AT_ONCE = 4
TRIES = 3
CHUNK = 1 << 18
SILENCE = 30  # seconds without a byte before a try is given up


class Stopped(VirtioCrqError):
    """Another download failed, or the person pressed Ctrl-C."""


class Gone(VirtioCrqError):
    """The archive has a newer version by now."""


class Downloads:
    """Packages in `folder`. A file there under its own name is whole; what is under way ends in `.part`."""

    def __init__(self, folder: Path, report: Report, proxies: Callable[[], Mapping[str, str]] = dict) -> None:
        self.folder = folder
        self._report = report
        self._proxies = proxies
        self._opener = urllib.request.build_opener()
        self._stop = threading.Event()

    def path(self, deb: Deb) -> Path:
        return self.folder / deb.filename

    def fetch(self, debs: Sequence[Deb]) -> None:
        """Afterwards each of them is in the folder, whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [deb for deb in debs if not self.path(deb).exists()]
        if not missing:
            return
        self._report.expect(sum(deb.size for deb in missing))
        self._report.received(sum(part.stat().st_size for deb in missing if (part := self._part(deb)).exists()))
        self._stop.clear()
        if proxies := self._proxies():  # none must not turn off those of the environment
            self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(dict(proxies)))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(self._one, deb) for deb in missing]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                # The first one may only have been stopped by another's failure: tell that one.
                for future in futures:
                    if future.done() and not future.cancelled():
                        told = future.exception()
                        if told and not isinstance(told, Stopped):
                            raise told from None
                raise
        self._report.arrived()

    def _one(self, deb: Deb) -> None:
        part = self._part(deb)
        for tries_left in reversed(range(TRIES)):
            try:
                self._continue(deb, part)
                if self._is_whole(deb, part):
                    part.replace(self.path(deb))
                    return
                self._report.received(-part.stat().st_size)
                part.unlink()
            except (OSError, HTTPException) as error:
                if isinstance(error, HTTPError):
                    error.close()
                self._complain(deb, error, may_retry=tries_left > 0)
        raise UsageError(
            f"{deb.url} does not have the bytes that Debian's index promises: the mirror is being updated or broken; "
            "try again later, or name another mirror by --mirror URL"
        )

    def _complain(self, deb: Deb, error: Exception, may_retry: bool) -> None:
        """Raise what people can do something about; return when another try may help."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UsageError(
                f"no room left in {self.folder}: free some, or set VIRTIO_CRQ_LAB to a roomier place; "
                "then run ./lab again"
            ) from None
        if isinstance(error, HTTPError) and error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise Gone(f"{deb.url} is not there any more") from None
        if not may_retry:
            raise UsageError(
                f"{deb.url} could not be fetched ({getattr(error, 'reason', None) or error}): check the network and "
                "try again; it continues where it was"
            ) from None

    def _continue(self, deb: Deb, part: Path) -> None:
        """Append what is missing. A server that does not know ranges sends all of it anew."""
        have = part.stat().st_size if part.exists() else 0
        if have >= deb.size:
            return
        request = urllib.request.Request(deb.url)
        if have:
            request.add_header("Range", f"bytes={have}-")
        with self._opener.open(request, timeout=SILENCE) as answer:
            continued = have > 0 and answer.status == HTTPStatus.PARTIAL_CONTENT
            if have and not continued:
                self._report.received(-have)
            with part.open("ab" if continued else "wb") as file:
                while data := answer.read(CHUNK):
                    file.write(data)
                    self._report.received(len(data))
                    if self._stop.is_set():
                        raise Stopped("stopped")
        if part.stat().st_size < deb.size:
            raise ConnectionError(f"it ended after {part.stat().st_size} of {deb.size} bytes")

    def _part(self, deb: Deb) -> Path:
        return self.path(deb).with_suffix(".part")

    @staticmethod
    def _is_whole(deb: Deb, part: Path) -> bool:
        if part.stat().st_size != deb.size:
            return False
        with part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == deb.sha256
