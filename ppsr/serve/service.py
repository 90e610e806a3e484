"""Jobs of the service: who may send one, models that must be downloaded first, and their turn.

One image is computed at a time: two at once are not faster on the same cores and need twice the memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ppsr.errors import PpsrError, did_you_mean
from ppsr.serve.limits import Limits, RequestError, is_loopback
from ppsr.serve.models import ModelSource
from ppsr.serve.worker import Job, Task, Worker
from ppsr.weights.catalogue import find_entry
from ppsr.weights.fetch import get_entry, weight_folder

_POLL = 0.2  # seconds between two looks at a download


class Service:
    """Models, the process that computes, and the jobs of all clients.

    Attributes:
        models: by name; the first one is the default.
        jobs: running requests by the identifiers that the clients chose.
    """

    def __init__(self, worker: Worker, models: dict[str, ModelSource], limits: Limits) -> None:
        self.worker = worker
        self.models = models
        self.limits = limits
        self.jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._download = asyncio.Lock()
        # a thread continues after its request is gone
        self._downloads: dict[str, asyncio.Future[object]] = {}

    @property
    def admitted(self) -> list[Job]:
        """Jobs whose images have arrived."""
        return [job for job in self.jobs.values() if job.stage != "uploading"]

    @contextmanager
    def job(self, identifier: str, address: str) -> Iterator[Job]:
        """A job for the time of a request.

        Raises:
            RequestError: the identifier is taken (400).
        """
        if identifier in self.jobs:
            raise RequestError(400, "bad_option", f"job '{identifier}' is in progress; choose another name")
        job = self.jobs[identifier] = Job(address)
        try:
            yield job
        finally:
            job.stopped = True
            del self.jobs[identifier]

    async def run(self, name: str, task: Task, job: Job) -> dict[str, Any]:
        """Download the model, wait for the turn, and compute.

        Returns:
            The report, with the path of the result as "output".

        Raises:
            RequestError: as `Worker.run`, all places are taken (429), or no model could be downloaded (502).
        """
        places = self.limits.max_requests
        same = sum(other.address == job.address for other in self.admitted)
        local = is_loopback(job.address)
        if len(self.admitted) >= places or (not local and same >= max(1, places // 2)):
            text = f"the limit of {places} images at the same time is reached; try again later"
            raise RequestError(429, "too_many_requests", text, retry_after=2)
        job.stage = "waiting"
        for needed in (name, task.model.partner if task.strength is not None else ""):
            if needed in self.models:
                await self._fetch(needed, job)
        job.stage, job.done, job.total = "waiting", 0, 0
        async with self._turn:
            return {"model": name, **await self.worker.run(task, job)}

    def find(self, name: str | None) -> str:
        """A valid name of a model; None: the first.

        Raises:
            RequestError: there is no such model (404).
        """
        name = next(iter(self.models)) if name is None else name
        if name not in self.models:
            raise RequestError(404, "no_such_model", f"no model '{name}'; {did_you_mean(name, self.models)}")
        return name

    async def _fetch(self, name: str, job: Job) -> None:
        """Download a model of the catalogue if it must be."""
        async with self._download:
            if not self.models[name].download:
                return
            job.stage, job.total = "downloading", self.models[name].download
            entry = find_entry(name)
            parts = [weight_folder() / f"{file.name}.part" for way in entry.sources for file in way.files]
            if (fetched := self._downloads.get(name)) is None:
                fetched = self._downloads[name] = _in_thread(lambda: get_entry(entry, progress=False))
                fetched.add_done_callback(lambda done: self._downloads.pop(name) and done.exception())
            while not (await asyncio.wait([fetched], timeout=_POLL))[0]:
                job.done = sum(part.stat().st_size for part in parts if part.is_file())
            try:
                fetched.result()
            except PpsrError as error:
                raise RequestError(502, "no_download", str(error)) from None
            self.models[name] = replace(self.models[name], download=0)


def _in_thread(function: Callable[[], object]) -> asyncio.Future[object]:
    """Run a function in a thread that does not hold up the end of the program, unlike those of a pool."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return asyncio.wrap_future(future)
