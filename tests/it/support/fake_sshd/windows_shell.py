"""cmd.exe or PowerShell as OpenSSH's server for Windows runs them, written from the public documentation of both:

    windows_shell.py cmd|powershell HOME COMMAND

HOME/C is the drive C:, and a command starts in C:\\Users\\me. What no test needs is not there."""

import os
import re
import signal
import subprocess
import sys
import time

KIND, HOME, COMMAND = sys.argv[1:4]
ENVIRONMENT = {"os": "Windows_NT", "processor_architecture": "AMD64", "userprofile": r"C:\Users\me"}
directory = r"C:\Users\me"


def here(path):
    """The file of this machine for a path of Windows."""
    if not re.match(r"[A-Za-z]:\\", path):
        path = directory + "\\" + path
    parts = os.path.normpath("/".join(path[2:].split("\\"))).strip("/")
    return os.path.join(HOME, path[0].upper(), parts)


def out(text, stream=sys.stdout.buffer):
    """Text in the code page of the console."""
    stream.write(text.encode("cp850"))
    stream.flush()


def change_directory(path):
    global directory
    if path == ".":
        return True
    if not os.path.isdir(here(path)):
        return False
    directory = path if re.match(r"[A-Za-z]:\\", path) else directory + "\\" + path
    return True


def stop_script(script):
    """Kills the process whose command line holds the mark, as the script of PowerShell does."""
    assert "taskkill.exe /T /F /PID" in script and "Get-CimInstance Win32_Process" in script, script
    assert script.count("{") == script.count("}") and '"' not in script and "%" not in script, script
    mark = "".join(re.search(r"Contains\('(\w+)'\+'(\w+)'\)", script).groups())
    if os.path.exists(os.path.join(HOME, "no-rights")):
        out("mcp-ssh-sessions:stop:unknown;")
        return 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = open(f"/proc/{pid}/cmdline", "rb").read()
            if mark.encode() in line and int(pid) != os.getpid():
                os.killpg(os.getpgid(int(pid)), signal.SIGKILL)
        except OSError:
            pass
    out("mcp-ssh-sessions:stop:gone;")
    return 0


def program(line):
    """Runs a program that both shells find. Returns its exit status, or None if there is none."""
    words = line.split()
    match words:
        case ["ping", *_]:
            return subprocess.call(["sleep", words[-1]])
        case ["more.com"]:
            sys.stdout.buffer.write(sys.stdin.buffer.read())
            sys.stdout.buffer.flush()
            return 0
        case ["wmic", *_]:
            sys.stdout.buffer.write("Name  \r\nB\u00fcro\r\n".encode("utf-16"))
            return 0
        case ["status.exe", code]:
            return int(code)
    return None


# cmd.exe


def expand(line):
    """Replaces the variables of a line, before anything else is read."""

    def value(found):
        name = found[1].lower()
        return directory if name == "cd" else ENVIRONMENT.get(name, found[0])

    return re.sub(r"%([^%:]+)(?::[^%]*)?%", value, line)


def split(line):
    """Splits a line at the `&` that have a meaning, and takes the carets away."""
    parts, part, is_quoted, is_escaped, depth = [], "", False, False, 0
    for letter in line:
        if is_escaped:
            part, is_escaped = part + letter, False
        elif letter == "^" and not is_quoted:
            is_escaped = True
        elif letter == "&" and not is_quoted and depth == 0:
            parts, part = parts + [part], ""
        else:
            is_quoted ^= letter == '"'
            depth += {"(": 1, ")": -1}.get(letter, 0) if not is_quoted else 0
            part += letter
    return parts + [part]


def cmd_statement(statement, errorlevel):
    """Runs a statement and returns the new error level. Raises SystemExit for `exit`."""
    statement = statement.lstrip()
    name, _, rest = statement.partition(" ")
    match name.lower():
        case "":
            return errorlevel
        case "echo>nul":
            return errorlevel
        case "echo":
            out(rest + "\r\n")
            return errorlevel
        case "(if":
            code = re.fullmatch(r"errorlevel 1 exit (\d+)\)", rest)[1]
            if errorlevel >= 1:
                raise SystemExit(int(code))
            return errorlevel
        case "set":
            name, is_setting, value = rest.partition("=")
            if is_setting:
                ENVIRONMENT[name.lower()] = value
            else:
                out(f"{name}={ENVIRONMENT[name.lower()]}\r\n")
            return errorlevel
        case "cd" if not rest:
            out(directory + "\r\n")
            return 0
        case "cd":
            if change_directory(rest.removeprefix("/d ")):
                return 0
            out("The system cannot find the path specified.\r\n", sys.stderr.buffer)
            return 1
        case "exit":
            raise SystemExit(int(rest or errorlevel))
        case "ver":
            out("\r\nMicrosoft Windows [Version 10.0.20348.2113]\r\n")
            return 0
        case "chcp":
            out("Page de codes active : 850\r\n")
            return 0
        case "type":
            sys.stdout.buffer.write(open(here(rest), "rb").read())
            return 0
        case "cmd":
            try:
                return cmd(re.fullmatch(r'/s /c "(.*)"', rest)[1])
            except SystemExit as end:
                return end.code
        case "powershell.exe":
            return stop_script(re.fullmatch(r'-NoProfile -NonInteractive -Command "(.*)"', rest)[1])
    code = program(statement)
    if code is None:
        out(f"'{name}' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n",
            sys.stderr.buffer)
        return 1
    return code


def cmd(line):
    errorlevel = 0
    for statement in split(expand(line.split("\n")[0])):
        errorlevel = cmd_statement(statement, errorlevel)
    return errorlevel


# PowerShell


def value(expression):
    """The value of ('text'+[char]39+'text')."""
    value = ""
    for piece in re.findall(r"'((?:[^'])*)'|\[char\](\d+)", expression):
        value += chr(int(piece[1])) if piece[1] else piece[0]
    return value


def powershell(text):
    if text.startswith("$ErrorActionPreference"):
        return stop_script(text)
    if "#" in text.split("\n")[0] and text.startswith('echo "'):
        line = text.split('"')[1]
        for name, shown in [("$($env:OS)", "Windows_NT"), ("$($env:PROCESSOR_ARCHITECTURE)", "AMD64"),
                            ("$($PSVersionTable.PSVersion)", "5.1.20348.2110"),
                            ("$([Environment]::OSVersion.Version)", "10.0.20348.0"),
                            ("$([Console]::OutputEncoding.CodePage)", "850")]:
            line = line.replace(name, shown)
        out(line + "\r\n")
        return 0
    if text.startswith("echo 'mcp"):
        out(text.split(";'")[0].removeprefix("echo '").replace("''", "'") + ";\r\n")
        return 1

    *lines, last = text.split("\n")
    propagates = last.startswith("if(!$?){if($LASTEXITCODE){exit $LASTEXITCODE}exit 1} <#")
    code = 0
    for line in lines if propagates else [text]:
        setting = re.match(r"Set-Location -ErrorAction Stop -LiteralPath (\(.*?'\));(.*)", line)
        if setting:
            if not change_directory(value(setting[1])):
                out(f"Set-Location : Cannot find path '{value(setting[1])}'\r\n", sys.stderr.buffer)
                return 1
            line = setting[2]
        while setting := re.match(r"\$env:(\w+)=(\(.*?'\));(.*)", line):
            ENVIRONMENT[setting[1].lower()] = value(setting[2])
            line = setting[3]
        if not line:
            continue
        name, _, rest = line.partition(" ")
        if re.fullmatch(r"\$env:\w+", line):
            out(ENVIRONMENT.get(line[5:].lower(), "") + "\r\n")
        elif line == "$input":
            sys.stdout.buffer.write(sys.stdin.buffer.read())
        elif line == "(Get-Location).Path":
            out(directory + "\r\n")
        elif name == "exit":
            return int(rest)
        elif name == "type":
            sys.stdout.buffer.write(open(here(rest), "rb").read())
        elif (found := program(line)) is not None:
            code = found
        else:
            out(f"{name} : The term '{name}' is not recognized as the name of a cmdlet\r\n+ {line}\r\n",
                sys.stderr.buffer)
            code = 1
    sys.stdout.flush()
    return code if propagates else min(code, 1)


if KIND == "cmd":
    status = cmd(COMMAND)
else:
    status = powershell(COMMAND)
    # PowerShell reads stdin to the end before it ends itself.
    sys.stdin.buffer.read()
sys.exit(status)
