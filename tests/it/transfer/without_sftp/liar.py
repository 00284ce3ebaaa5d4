#!/usr/bin/python3
# Answers the script of a file server; MODE says with which lie.
import re, sys

mode, lines, out = "MODE", sys.stdin.buffer, sys.stdout.buffer


def say(text):
    out.write(text)
    out.flush()


def endless():
    while True:
        say(b"x" * 65536)


if not lines.readline().startswith(b"echo mcp-ssh-sessions:ready") or mode == "nothing":
    sys.exit(1)
say(b"mcp-ssh-sessions:ready\n")
script = b""
while not script.endswith(b"main; exit\n"):
    script += lines.readline()
mark = re.search(rb"M='([0-9a-f]{32})'", script).group(1)
if mode == "noise":
    endless()
say(b"\n%s ready dd\n" % mark)
if mode == "unasked":
    say(b"\n%s.0 0 \n" % mark)

NAMES = {
    "up": b"../evil",
    "slash": b"a/../../evil",
    "dots": b"..",
    "empty": b"",
    "nul": b"a\0b",
    "absolute": b"/evil",
}
facts = b"81a4 0 0 5 0 0"
for number, line in enumerate(lines):
    status, content = b"0", b""
    if line.startswith(b"r st") and (b"/tree'" in line or b"/.'" in line):
        content = b"41ed 0 0 0 0 0\n"
    elif line.startswith((b"r st", b"fp ")):
        content = facts
    elif line.startswith(b"r rp"):
        content = b"relative" if mode == "relative" else b"/tree"
    elif line.startswith(b"r li"):
        content = b"no facts" if mode == "listing" else b"%s ./%s/\n" % (facts, NAMES.get(mode, b"file"))
    elif line.startswith(b"rd"):
        content = b"x" * 500000 if mode == "long" else b"12345"
        if mode == "endless":
            endless()
    if mode == "status":
        status = b"fine"
    if mode == "end":
        sys.exit(0)
    say(content + b"\n%s.%d %s \n" % (mark, number, status))
