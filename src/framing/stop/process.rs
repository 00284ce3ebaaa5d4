//! Processes of the remote machine. A number alone does not name a process, because the system
//! gives it to another when the first has ended.

use std::time::Duration;

/// Longest start time, in bytes; a longer text counts as something else.
const MAX_START_TIME_BYTES: usize = 64;
/// Index of the start time in `/proc/PID/stat` (proc(5), field 22), counted after the name in
/// brackets.
const START_FIELD: usize = 19;

/// Process of the remote machine, named by id and start time. Two processes are the same only if
/// both agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id, greater than 1.
    pid: u32,
    /// Start time, in the words of the scripts.
    born: String,
    /// Age of the process at the time of the report; zero if unknown.
    age: Duration,
}

impl Process {
    /// Takes a process id and a start time as reported by the scripts: clock ticks since boot, or
    /// `began` and the words of `ps -o lstart=` joined with `_`. Returns `None` for anything else,
    /// because both are written into scripts.
    #[must_use]
    pub fn new(pid: u32, born: &str) -> Option<Self> {
        let is_time = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        let fits = (1..=MAX_START_TIME_BYTES).contains(&born.len()) && born.bytes().all(is_time);
        (pid > 1 && fits).then(|| Self {
            pid,
            born: born.to_owned(),
            age: Duration::ZERO,
        })
    }

    /// Reads `PID STAT`, where `STAT` is the process's line in `/proc/PID/stat`, or a time as in
    /// [`new`](Self::new). The content of `/proc/uptime` may follow the line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(' ')?;

        // A process name may hold anything, but it is in brackets, and the last bracket ends it.
        let pid = pid.parse().ok()?;
        let Some((_, fields)) = rest.rsplit_once(") ") else {
            return Self::new(pid, rest);
        };
        let process = Self::new(pid, fields.split(' ').nth(START_FIELD)?)?;

        // Seconds with two digits after the point: without the point, the number counts ticks.
        let uptime = fields
            .split(' ')
            .rev()
            .nth(1)
            .filter(|uptime| uptime.contains('.'));

        let now: Option<u64> = uptime.and_then(|uptime| uptime.replace('.', "").parse().ok());

        // A start time later than the uptime makes no sense, so the age then counts as unknown.
        let ticks = process
            .born
            .parse()
            .ok()
            .zip(now)
            .and_then(|(born, now)| now.checked_sub(born))
            .unwrap_or(0);

        Some(Self {
            age: Duration::from_millis(ticks.saturating_mul(10)),
            ..process
        })
    }

    /// Returns the age of the process at the time of the report; zero if unknown.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns id and start time as a word of a script.
    pub(in crate::framing) fn word(&self) -> String {
        format!("{}/{}", self.pid, self.born)
    }
}

#[cfg(test)]
impl Process {
    /// Returns the process with this id now.
    pub(in crate::framing) fn now(pid: u32) -> Self {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| {
            let listed = std::process::Command::new("ps")
                .args(["-o", "lstart=", "-p", &pid.to_string()])
                .envs([("LC_ALL", "C"), ("TZ", "UTC")])
                .output()
                .unwrap();

            format!("began {}", String::from_utf8(listed.stdout).unwrap())
                .split_whitespace()
                .collect::<Vec<_>>()
                .join("_")
        });

        Self::parse(&format!("{pid} {}", line.trim_end())).unwrap()
    }

    /// Returns an earlier process with the same id.
    pub(super) fn predecessor(&self) -> Self {
        let born = self
            .born
            .parse()
            .map_or("began_long_ago".to_owned(), |ticks: u64| {
                (ticks - 1).to_string()
            });

        Self {
            pid: self.pid,
            born,
            age: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_with_its_start_time_and_nothing_else() {
        let stat = "(a b) 7 (sh) S 1 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10";
        for (text, expected) in [
            (format!("77 77 {stat}").as_str(), Some("77/123456")),
            (
                &format!("77 77 ({}", stat.trim_start_matches('(')),
                Some("77/123456"),
            ),
            (
                "77 began_Sat_Nov_28_21:29:13_2026",
                Some("77/began_Sat_Nov_28_21:29:13_2026"),
            ),
            (&format!("77 77 {stat} 1240.06 99.10"), Some("77/123456")),
            ("77 5", Some("77/5")),
            ("77", None),
            ("77 ", None),
            ("0 5", None),
            ("1 5", None),
            ("-1 5", None),
            ("77 5;reboot", None),
            ("77 $(reboot)", None),
            ("77 a b", None),
            ("77 7 (sh) S 1 2", None),
            (
                "77 7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 `id` 20",
                None,
            ),
            (
                &format!("77 {}", "1".repeat(MAX_START_TIME_BYTES + 1)),
                None,
            ),
        ] {
            assert_eq!(
                Process::parse(text)
                    .map(|process| process.word())
                    .as_deref(),
                expected,
                "{text}"
            );
        }

        for (uptime, age) in [
            (" 1240.06 9.1", 5500),
            ("", 0),
            (" 3.00 9.1", 0),
            (" x.y 9.1", 0),
        ] {
            let process = Process::parse(&format!("77 77 {stat}{uptime}")).unwrap();
            assert_eq!(process.age(), Duration::from_millis(age), "{uptime}");
        }
    }
}
