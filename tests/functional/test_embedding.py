"""Every example of docs/embedding.md, run as it is; and asyncio on a real switch."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dfovsdb import aio
from dfovsdb.errors import ConfigurationError, WaitTimeout
from dfovsdb.model import PortEvent, SyncMarker
from dfovsdb.recording import replay
from dfovsdb.testing import CaptureSink, Sandbox, wait_until
from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "embedding.md").read_text()
VIF = "4aa64e21-d9d6-497e-bfa9-cf6dbb574054"
EXAMPLES = dict(
    re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
)
SOMEWHERE = "tcp:127.0.0.1:1"  # where nobody listens


@pytest.fixture
def switch(ovs_sandbox: Sandbox) -> Sandbox:
    ovs_sandbox.add_bridge("br-int")
    ovs_sandbox.vsctl(
        "add-port",
        "br-int",
        "tap0",
        "--",
        "set",
        "interface",
        "tap0",
        "type=dummy",
        f"external_ids:iface-id={VIF}",
    )
    return ovs_sandbox


def program(name: str, switch: Sandbox) -> list[str]:
    code = EXAMPLES[name].replace("unix:/run/openvswitch/db.sock", switch.connection)
    return [sys.executable, "-W", "error", "-c", code]


def run(name: str, switch: Sandbox) -> str:
    done = subprocess.run(
        program(name, switch), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_there_is_an_example_of_each_way() -> None:
    assert list(EXAMPLES) == [
        "A loop",
        "A thread",
        "asyncio",
        "A Dragonflow controller",
        "Waiting for one VIF",
        "A kind of your own",
        "A recording as a test",
    ]


def test_a_recording_is_replayed_with_what_the_text_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "recordings" / "day.jsonl", tmp_path)
    code = EXAMPLES["A recording as a test"]
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=DEADLINE
    )
    said = re.search(r"`replay(\(file.*?\))`", TEXT, re.DOTALL)
    assert said
    parameters = [
        str(parameter.replace(annotation=parameter.empty)).replace("'", '"')
        for parameter in inspect.signature(replay).parameters.values()
    ]
    assert " ".join(said[1].split()) == f"({parameters[0]}, *, {', '.join(parameters[1:])})"


def test_the_loop_prints_events_until_it_is_ended(switch: Sandbox) -> None:
    loop = subprocess.Popen(program("A loop", switch), stdout=subprocess.PIPE, text=True)
    assert loop.stdout
    lines = {loop.stdout.readline(), loop.stdout.readline()}
    loop.kill()
    loop.wait()
    loop.stdout.close()
    assert lines == {"online bridge br-int\n", "online vm tap0\n"}


def test_the_sink_on_a_thread_knows_what_the_monitor_knows(switch: Sandbox) -> None:
    assert run("A thread", switch) == "['br-int', 'tap0']\n" * 2


def test_asyncio_tells_the_first_sync_and_counts(switch: Sandbox) -> None:
    assert set(run("asyncio", switch).splitlines()) == {
        "online br-int",
        "online tap0",
        "2 ports",
    }


def test_the_controller_is_called_back(switch: Sandbox) -> None:
    said = run("A Dragonflow controller", switch)
    assert said.startswith("switch_sync_started None None\n")
    assert re.search(r'^create switch_port .*"name":"tap0"', said, re.MULTILINE)


def test_one_vif_is_waited_for(switch: Sandbox) -> None:
    assert re.fullmatch(r"tap0 has port number \d+\n", run("Waiting for one VIF", switch))


def test_a_kind_of_ones_own_goes_before_the_built_in_ones(switch: Sandbox) -> None:
    switch.vsctl(
        "add-port",
        "br-int",
        "stor0",
        "--",
        "set",
        "interface",
        "stor0",
        "type=dummy",
        "external_ids:iface-id=s1",
    )
    assert set(run("A kind of your own", switch).splitlines()) == {
        "online bridge br-int",
        "online vm tap0",
        "online storage stor0",
    }


def test_a_change_is_awaited(switch: Sandbox) -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        async with contextlib.aclosing(aio.watch(switch.connection, markers=True)) as events:
            async for event in events:
                if isinstance(event, SyncMarker):
                    if event.action == "sync_finished":
                        await asyncio.to_thread(switch.vsctl, "del-port", "tap0")
                elif event.action == "offline":
                    seen.append(event.port.name)
                    break
        return seen

    assert asyncio.run(asyncio.wait_for(main(), 60)) == ["tap0"]
    wait_until(lambda: no_thread_is_left())


def test_a_task_that_is_cancelled_leaves_no_thread(switch: Sandbox) -> None:
    async def main() -> None:
        came = asyncio.Event()

        async def listen() -> None:
            async for event in aio.watch(switch.connection):
                assert isinstance(event, PortEvent)
                came.set()

        task = asyncio.create_task(listen())
        await asyncio.wait_for(came.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until(lambda: no_thread_is_left())


def test_a_body_that_is_slow_does_not_block_the_loop_and_gets_the_last_word(
    ovsdb_sandbox: Sandbox,
) -> None:
    switch = ovsdb_sandbox  # where no ovs-vswitchd corrects the numbers
    switch.vsctl(
        "add-br",
        "br-int",
        "--",
        "add-port",
        "br-int",
        "tap0",
        "--",
        "set",
        "interface",
        "tap0",
        "external_ids:iface-id=v1",
    )

    async def main() -> list[int | None]:
        numbers = []
        async for event in aio.watch(switch.connection, queue_limit=5):
            if event.port.name == "tap0":
                numbers.append(event.port.ofport)
            if len(numbers) == 1:
                for number in range(60):  # while nobody takes events
                    await asyncio.to_thread(switch.transact, update("tap0", 1000 + number))
            if numbers[-1:] == [1059]:
                break
        return numbers

    assert asyncio.run(asyncio.wait_for(main(), 60))[-1] == 1059


def update(name: str, number: int) -> dict[str, object]:
    return {
        "op": "update",
        "table": "Interface",
        "where": [["name", "==", name]],
        "row": {"ofport": number},
    }


def test_the_first_sync_may_take_so_long_and_no_longer() -> None:
    async def main() -> None:
        async for _ in aio.watch(SOMEWHERE, timeout=0.1):
            pass

    with pytest.raises(WaitTimeout, match="cannot connect"):
        asyncio.run(main())


def test_wrong_use_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        aio.watch("nowhere")


def test_a_port_is_awaited_while_other_tasks_run(switch: Sandbox) -> None:
    async def main() -> str:
        capture = CaptureSink()
        async with aio.Monitor(switch.connection, sinks=[capture]) as monitor:
            assert await monitor.wait_synced(30)
            assert not monitor.trouble
            waiting = asyncio.create_task(monitor.wait_for(lambda p: p.name == "tap1", 30))
            await asyncio.to_thread(
                switch.vsctl,
                "add-port",
                "br-int",
                "tap1",
                "--",
                "set",
                "interface",
                "tap1",
                "type=dummy",
                "external_ids:iface-id=v1",
            )
            port = await waiting
            assert set(monitor.ports()) >= {port.uuid}
            monitor.replay()
            monitor.reopen()
        assert capture.closed
        return port.name

    assert asyncio.run(main()) == "tap1"
    wait_until(lambda: no_thread_is_left())


def test_what_does_not_come_ends_in_time_and_can_be_cancelled() -> None:
    async def main() -> None:
        async with aio.Monitor(SOMEWHERE) as monitor:
            assert not await monitor.wait_synced(0.05)
            with pytest.raises(WaitTimeout, match=r"no such port within 0\.05 s"):
                await monitor.wait_for(lambda _: True, 0.05)
            waiting = asyncio.create_task(monitor.wait_for(lambda _: True))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(main())
    wait_until(lambda: no_thread_is_left())


def test_what_the_predicate_raises_is_raised_where_it_is_awaited(switch: Sandbox) -> None:
    async def main() -> None:
        async with aio.Monitor(switch.connection) as monitor:
            await monitor.wait_for(lambda port: bool(1 / (port.ofport or 0) - 1 / 0), 30)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_sink_that_cannot_be_opened_leaves_nothing_running() -> None:
    class Broken(CaptureSink):
        def open(self, context: object) -> None:  # noqa: ARG002 - of the contract
            raise OSError("no")

    async def main() -> None:
        async with aio.Monitor(SOMEWHERE, sinks=[Broken()]):
            pass

    with pytest.raises(ConfigurationError, match="cannot be opened: no"):
        asyncio.run(main())
    wait_until(lambda: no_thread_is_left())


def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    opening, go_on = threading.Event(), threading.Event()

    class Slow(CaptureSink):
        def open(self, context: object) -> None:  # noqa: ARG002 - of the contract
            opening.set()
            go_on.wait(DEADLINE)

    async def main() -> None:
        starting = asyncio.create_task(aio.Monitor(SOMEWHERE, sinks=[Slow()]).start())
        await asyncio.to_thread(opening.wait, DEADLINE)
        starting.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(main())
    wait_until(lambda: no_thread_is_left())


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("dfovsdb")]
