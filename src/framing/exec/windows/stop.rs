//! The script that ends a command on Windows, with everything that it started.

use super::WindowsShell;
use crate::framing::{sentinel::Sentinel, stop::StopReport};

/// Beginning of the report.
const REPORT: &str = "mcp-ssh-sessions:stop:";

/// Script of PowerShell, with `{0}` and `{1}` for the halves of a mark: the script's own command
/// line must not hold the mark.
///
/// A process counts as started by the command if its parent does, and if it is not older than the
/// command: Windows uses the numbers of processes again. An account without the rights of an
/// administrator may not list processes in a session over SSH, and the report says `unknown` then.
/// There are no double quotes and no `%`, which cmd.exe would see.
const SCRIPT: &str = "$ErrorActionPreference='Stop'; $e='unknown'; try { \
     $a=@(Get-CimInstance Win32_Process); \
     $r=@($a | Where-Object { $_.CommandLine -and $_.CommandLine.Contains('{0}'+'{1}') }); \
     $s=@($r | ForEach-Object { $_.CreationDate } | Sort-Object)[0]; \
     $t=@($r | ForEach-Object { $_.ProcessId }); \
     do { $n=$t.Count; $t=@($a | Where-Object { $t -contains $_.ProcessId -or \
     ($t -contains $_.ParentProcessId -and $_.CreationDate -ge $s) } | \
     ForEach-Object { $_.ProcessId }) } while ($t.Count -gt $n); \
     $ErrorActionPreference='SilentlyContinue'; \
     foreach ($p in $r) { $null = taskkill.exe /T /F /PID $p.ProcessId 2>$null }; \
     foreach ($p in $t) { Stop-Process -Force -Id $p }; \
     for ($i=0; $i -lt 30; $i++) { \
     $l=@($t | Where-Object { Get-Process -Id $_ }); if (!$l) { break }; \
     Start-Sleep -Milliseconds 100 }; \
     if ($l) { $e='alive' } else { $e='gone' } } catch { }; \
     [Console]::Out.Write('mcp-ssh-sessions:stop:' + $e + ';')";

/// Writes the command line of a script that kills the command whose line holds the mark. The
/// login shell runs it. [`read_stop_report`] reads what it prints.
#[must_use]
pub fn stop_script(shell: WindowsShell, mark: &Sentinel) -> String {
    let (first, second) = mark.as_str().split_at(mark.as_str().len() / 2);
    let script = SCRIPT.replace("{0}", first).replace("{1}", second);

    match shell {
        WindowsShell::Cmd => {
            format!("powershell.exe -NoProfile -NonInteractive -Command \"{script}\"")
        }
        WindowsShell::PowerShell => script,
    }
}

/// Reads the report of a [`stop_script`]; `None` if nothing was found out.
#[must_use]
pub fn read_stop_report(answer: &[u8]) -> Option<StopReport> {
    let answer = String::from_utf8_lossy(answer);
    let (_, report) = answer.split_once(REPORT)?;

    match report.split_once(';')?.0 {
        "gone" => Some(StopReport::Gone),
        "alive" => Some(StopReport::Alive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_does_not_find_itself() {
        let mark = Sentinel::from_random([0xab; 16]);
        for shell in [WindowsShell::Cmd, WindowsShell::PowerShell] {
            let line = stop_script(shell, &mark);
            assert!(
                !line.contains(mark.as_str()) && !line.contains('\n'),
                "{line}"
            );
            assert!(
                line.contains("taskkill.exe /T /F") && line.len() < 2_000,
                "{line}"
            );
        }
    }

    #[test]
    fn cmd_leaves_the_script_as_it_is() {
        let line = stop_script(WindowsShell::Cmd, &Sentinel::from_random([0; 16]));
        let script = line.split_once('"').unwrap().1.strip_suffix('"').unwrap();
        assert!(!script.contains(['"', '%', '^']), "{script}");
        assert_eq!(script.matches('{').count(), script.matches('}').count());
        assert_eq!(script.matches('(').count(), script.matches(')').count());
        assert_eq!(script.matches('\'').count() % 2, 0);
    }

    #[test]
    fn only_a_whole_report_counts() {
        for (answer, report) in [
            (
                &b"noise\r\nmcp-ssh-sessions:stop:gone;"[..],
                Some(StopReport::Gone),
            ),
            (b"mcp-ssh-sessions:stop:alive;\r\n", Some(StopReport::Alive)),
            (b"mcp-ssh-sessions:stop:unknown;", None),
            (b"mcp-ssh-sessions:stop:gone", None),
            (b"mcp-ssh-sessions:stop:' + $e + ';", None),
            (b"", None),
        ] {
            assert_eq!(read_stop_report(answer), report);
        }
    }
}
