"""The Python SDK, driven as driver.mjs describes."""

import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


class Driver:
    def __init__(self):
        self.client = None
        self.running = {}

    async def connect(self, to):
        if to["transport"] == "http":
            # The SDK's own limits.
            http = httpx2.AsyncClient(headers=to.get("headers"), timeout=httpx2.Timeout(30, read=300))
            transport = streamable_http_client(to["url"], http_client=http)
        elif to["transport"] == "sse":
            transport = sse_client(to["url"], headers=to.get("headers"))
        else:
            server = StdioServerParameters(command=to["command"], args=to["args"], env=to["env"])
            transport = stdio_client(server, errlog=sys.stderr)
        self.client = Client(transport, mode="legacy" if to.get("legacy") else "auto")
        await self.client.__aenter__()
        return {"name": self.client.server_info.name, "revision": self.client.protocol_version}

    async def tools(self, _):
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, params):
        self.running[params["key"]] = asyncio.current_task()
        result = await self.client.call_tool(params["tool"], params["arguments"])
        text = "".join(block.text for block in result.content)
        return {"text": text, "isError": result.is_error, "facts": (result.meta or {}).get("mcp-ssh-sessions/result")}

    async def cancel(self, params):
        self.running[params["key"]].cancel("not wanted any more")

    async def close(self, _):
        await self.client.__aexit__(None, None, None)


async def answer(driver, message):
    try:
        body = {"result": await getattr(driver, message["method"])(message.get("params"))}
    except (Exception, asyncio.CancelledError) as error:
        body = {"error": {"code": 0, "message": repr(error)}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}), flush=True)


async def main():
    driver = Driver()
    tasks = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        message = json.loads(line)
        # The SDK wants to be entered and left in one and the same task.
        if message["method"] in ("connect", "close"):
            await answer(driver, message)
        else:
            tasks.add(asyncio.create_task(answer(driver, message)))


asyncio.run(main())
