"""One row of the benchmark: all peers are started, take turns, and are ended."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import generators, measure
from benchmarks.generators import NoAnswerError, WrongAnswerError
from benchmarks.install import program
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.processes import StartError, end, wait_until_served
from benchmarks.report import Found, Sample
from benchmarks.rows import IDLE, Front, Load, Row

#: Seconds of load before the first round, and until memory is read when connections are idle.
WARM, SETTLE = 1, 1
#: A peer may still have to learn these; of all others a wrong answer is an error.
_OPTIONAL = (Front.HTTP2_TLS, Front.H2C, Front.WEBSOCKET)

#: A peer and its program, by its name.
Programs = Mapping[str, tuple[Peer, str]]
#: What to do with the port and the process of each peer in turn.
Turn = Callable[[int, int], Sample | None]


class Run:
    """A row and its results, by the names of the peers. ``profile`` is a folder for Moongate's profiles."""

    def __init__(self, row: Row, folder: Path, backend: int, profile: Path | None = None) -> None:
        self.row = row
        self.folder = Path(tempfile.mkdtemp(prefix="row-", dir=folder))
        self.folder.chmod(0o755)
        self.backend = backend
        self.profile = profile
        self.results: dict[str, Found] = {}
        self._running: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}

    def measure(self, programs: Programs, rounds: int, seconds: int) -> None:
        """Fill the results. Who gives a wrong answer is left out from then on, without a number."""
        try:
            self._start(programs)
            if self.row.load is Load.IDLE:
                self._take_turns(self._idle)
                return
            self._take_turns(self._warm)
            for _ in range(rounds):
                self._take_turns(lambda port, pid: self._round(port, pid, seconds))
            self._take_turns(lambda port, _: generators.probe(self.row, port, self.folder))
            if self.profile and "moongate" in self._running:
                self._record(self.profile, *self._running["moongate"], seconds)
        finally:
            for _, process in self._running.values():
                process.terminate()
            for _, process in self._running.values():
                end(process)

    def _start(self, programs: Programs) -> None:
        """Start all that can do the row, side by side, and have each give one right answer."""
        places: dict[str, Place] = {}
        for name, (peer, path) in programs.items():
            self.results[name] = Found(reason=peer.cannot(self.row) or "")
            if not self.results[name].reason:
                place = places[name] = Place.make(
                    self.folder / name, self.backend, self.row.hosts, h2c_apart=peer.h2c_apart
                )
                self._running[name] = place.port(self.row.front), peer.start(path, place)
        for name, place in places.items():
            port, process = self._running[name]
            try:
                wait_until_served(port, process, place.folder / "log")
                self._probe(port)
            except (StartError, WrongAnswerError) as error:
                self._drop(name, Found(reason=str(error), wrong=self.row.front not in _OPTIONAL))

    def _probe(self, port: int) -> None:
        for attempt in (1, 2, 3):
            try:
                generators.probe(self.row, port, self.folder)
            except WrongAnswerError:
                if attempt == 3:
                    raise
                time.sleep(0.5)  # it listens, and may not know its backend yet
            else:
                return

    def _drop(self, name: str, found: Found) -> None:
        self.results[name] = found
        _, process = self._running.pop(name)
        end(process)

    def _take_turns(self, turn: Turn) -> None:
        for name, (port, process) in list(self._running.items()):
            try:
                sample = turn(port, process.pid)
            except WrongAnswerError as error:
                self._drop(name, Found(reason=str(error), wrong=not isinstance(error, NoAnswerError)))
            else:
                if sample is not None:
                    self.results[name].samples.append(sample)

    def _warm(self, port: int, pid: int) -> None:
        with contextlib.suppress(WrongAnswerError):  # the rounds will tell
            generators.generate(self.row, port, WARM, self.folder)
        measure.reset_peak(pid)

    def _round(self, port: int, pid: int, seconds: int) -> Sample:
        before = measure.cpu_seconds(pid)
        answers = generators.generate(self.row, port, seconds, self.folder)
        cpu = (measure.cpu_seconds(pid) - before) / answers.requests * 1e6
        return Sample(answers.requests / answers.seconds, answers.p50, answers.p99, cpu, measure.peak(pid))

    def _idle(self, port: int, pid: int) -> Sample:
        time.sleep(SETTLE)
        memory, before = measure.resident(pid), measure.cpu_seconds(pid)
        with generators.held(self.row, port) as answers:
            time.sleep(SETTLE)
            memory = (measure.resident(pid) - memory) * 1024 / IDLE
            cpu = (measure.cpu_seconds(pid) - before) / IDLE * 1e6
        return Sample(answers.requests / answers.seconds, answers.p50, answers.p99, cpu, memory)

    def _record(self, folder: Path, port: int, process: subprocess.Popen[bytes], seconds: int) -> None:
        """Where Moongate's time goes, under the load of one more round: stacks that flamegraph tools read."""
        spy = program("programs", "py-spy") or shutil.which("py-spy")
        if spy is None:
            return
        folder.mkdir(exist_ok=True)
        output = folder / f"{self.row.title.replace('/', '-')}.txt"
        options = ["--pid", str(process.pid), "--duration", str(seconds), "--rate", "500", "--native"]
        command = [spy, "record", *options, "--format", "raw", "--output", str(output)]
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(WrongAnswerError):  # a profiled round is no measurement
            generators.generate(self.row, port, seconds + 1, self.folder)
        recorder.wait()  # it ends by itself, and writes only then
