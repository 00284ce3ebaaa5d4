"""An SSH server on asyncssh, with commands, terminals, SFTP and scp: PORT HOST_KEY AUTHORIZED_KEYS."""

import asyncio
import os
import sys

import asyncssh

import commands

port, host_key, authorized_keys = sys.argv[1:4]


async def handle(process):
    size = process.term_size[:2] if process.term_type else None
    child, terminal = commands.start(process.command, size, dict(process.env))
    if terminal is None:
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    else:
        await process.redirect(stdin=os.dup(terminal), stdout=terminal, send_eof=False)
    ended = asyncio.get_running_loop().run_in_executor(None, child.wait)
    closed = asyncio.ensure_future(process.wait_closed())
    await asyncio.wait([ended, closed], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        commands.hang_up(child)
        return
    await process.stdout.drain()
    await process.stderr.drain()
    status = ended.result()
    if status >= 0:
        process.exit(status)
    else:
        process.exit_with_signal(commands.signal.Signals(-status).name[3:])


async def main():
    await asyncssh.listen(
        '127.0.0.1',
        int(port),
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=handle,
        encoding=None,
        sftp_factory=True,
        allow_scp=True,
    )
    await asyncio.Event().wait()


asyncio.run(main())
