"""A simulated IPP printer that responds as a test wants, also wrongly."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from mailslot_plugins.printers.ipp.codec import Attribute, Tag, decode, encode
from mailslot_plugins.printers.ipp.operations import (
    CREATE_JOB,
    GET_JOB_ATTRIBUTES,
    GET_JOBS,
    GET_PRINTER_ATTRIBUTES,
    PRINT_JOB,
    SEND_DOCUMENT,
    VALIDATE_JOB,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from anyio.abc import SocketStream

ABLE = (PRINT_JOB, VALIDATE_JOB, CREATE_JOB, SEND_DOCUMENT, GET_JOB_ATTRIBUTES, GET_JOBS, GET_PRINTER_ATTRIBUTES)


@dataclass
class SimulatedPrinter:
    """The simulated state and responses.

    Attributes:
        refusals: for an operation, the status codes that it is answered with, one after the other, before it is done.
        http: the same for HTTP's.
        lost: operations that are done, and whose answer is lost, once each.
        job_states: of each job, one after the other; the last one stays.
        job_reasons: of each job.
        printer_state, reasons, accepting: of itself.
        version: the newest that it speaks.
        asked: the operations that it was asked for.
        versions: the versions that it was asked in.
        documents: what it has printed.
    """

    refusals: dict[int, list[int]] = field(default_factory=dict)
    http: dict[int, list[int]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    job_states: list[int] = field(default_factory=lambda: [5, 9])
    job_reasons: list[str] = field(default_factory=lambda: ["none"])
    printer_state: int = 3
    reasons: list[str] = field(default_factory=lambda: ["none"])
    accepting: bool = True
    able: tuple[int, ...] = ABLE
    version: int = 2
    asked: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    uri: str = ""

    def answer(self, head: bytes) -> tuple[int, Sequence[tuple[Tag, Sequence[Attribute]]]]:
        """Return the status and the groups of an answer."""
        operation = int.from_bytes(head[2:4], "big")
        self.asked.append(operation)
        self.versions.append(head[0])
        if head[0] > self.version:
            return 0x0503, []
        if self.refusals.get(operation):
            return self.refusals[operation].pop(0), []
        groups = {group.tag: group.attributes for group in decode(head).groups}
        if operation == GET_PRINTER_ATTRIBUTES:
            return 0, [(Tag.PRINTER, self._printer())]
        if operation in {CREATE_JOB, PRINT_JOB}:
            self.names.append(str(groups[Tag.OPERATION]["job-name"][0]))
            return 0, [(Tag.JOB, [Attribute(Tag.INTEGER, "job-id", (len(self.names),))])]
        if operation == GET_JOBS:
            return 0, [(Tag.JOB, self._named(number)) for number in range(1, len(self.names) + 1)]
        if operation == GET_JOB_ATTRIBUTES:
            (number,) = groups[Tag.OPERATION]["job-id"]
            state = self.job_states.pop(0) if len(self.job_states) > 1 else self.job_states[0]
            assert isinstance(number, int)
            about = [
                Attribute(Tag.ENUM, "job-state", (state,)),
                Attribute(Tag.KEYWORD, "job-state-reasons", tuple(self.job_reasons)),
            ]
            return 0, [(Tag.JOB, [*self._named(number), *about])]
        return 0, []

    def _named(self, number: int) -> list[Attribute]:
        name = self.names[number - 1]
        return [Attribute(Tag.INTEGER, "job-id", (number,)), Attribute(Tag.NAME, "job-name", (name,))]

    def _printer(self) -> list[Attribute]:
        return [
            Attribute(Tag.ENUM, "printer-state", (self.printer_state,)),
            Attribute(Tag.KEYWORD, "printer-state-reasons", tuple(self.reasons)),
            Attribute(Tag.BOOLEAN, "printer-is-accepting-jobs", (self.accepting,)),
            Attribute(Tag.MIME_TYPE, "document-format-supported", ("application/pdf",)),
            Attribute(Tag.ENUM, "operations-supported", self.able),
            Attribute(Tag.RANGE, "copies-supported", (struct.pack(">ii", 1, 9),)),
        ]

    async def serve(self, stream: SocketStream) -> None:
        """Answer one connection's requests."""
        buffer = bytearray()
        async with stream:
            while True:
                while b"\r\n\r\n" not in buffer:
                    try:
                        buffer += await stream.receive()
                    except (anyio.EndOfStream, anyio.BrokenResourceError):
                        return
                fields, _, rest = bytes(buffer).partition(b"\r\n\r\n")
                size = int(fields.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(rest) < size:
                    rest += await stream.receive()
                buffer = bytearray(rest[size:])
                if not await self._one(stream, rest[:size]):
                    return

    async def _one(self, stream: SocketStream, request: bytes) -> bool:
        operation = int.from_bytes(request[2:4], "big")
        if self.http.get(operation):
            status = self.http[operation].pop(0)
            await stream.send(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            return True
        status, groups = self.answer(request)
        if status == 0 and operation in {PRINT_JOB, SEND_DOCUMENT}:
            self.documents.append(request[request.index(b"%PDF-") :])
        if operation in self.lost:
            self.lost.remove(operation)
            return False
        ok = [Attribute(Tag.CHARSET, "attributes-charset", ("utf-8",))]
        body = encode(status, 1, [(Tag.OPERATION, ok), *groups])
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True


@asynccontextmanager
async def run_simulated_printer(simulated: SimulatedPrinter) -> AsyncGenerator[SimulatedPrinter]:
    """Run the simulated printer while the block runs."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    simulated.uri = f"ipp://127.0.0.1:{port}/ipp/print"
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, simulated.serve)
        yield simulated
        group.cancel_scope.cancel()
