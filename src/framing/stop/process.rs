//! Processes of the remote machine, which a number alone does not name: it is given to another when the first has ended.

/// More words than this are no start time, in bytes.
const LONGEST: usize = 64;
/// Where a process's start time stands in `/proc/PID/stat` (proc(5), field 22), counted behind the name in brackets.
const START_FIELD: usize = 19;

/// A process, by its id and the time at which it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    born: String,
}

impl Process {
    /// A process that began then; `None` where that is no time as the scripts here tell it: clock ticks since boot, or
    /// the words of `ps -o lstart=` joined with `_` behind `began`. Nothing else may get into a script.
    #[must_use]
    pub fn new(pid: u32, born: &str) -> Option<Self> {
        let is_time = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        let fits = (1..=LONGEST).contains(&born.len()) && born.bytes().all(is_time);
        (pid > 1 && fits).then(|| Self { pid, born: born.to_owned() })
    }

    /// Reads `PID STAT`, where `STAT` is the process's line in `/proc/PID/stat`, or a time as [`new`](Self::new) takes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(' ')?;
        // A name may hold anything, but is in brackets, of which the last ends it.
        let born = match rest.rsplit_once(") ") {
            Some((_, fields)) => fields.split(' ').nth(START_FIELD)?,
            None => rest,
        };
        Self::new(pid.parse().ok()?, born)
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Both, as one word of a script.
    pub(in crate::framing) fn word(&self) -> String {
        format!("{}/{}", self.pid, self.born)
    }
}

#[cfg(test)]
impl Process {
    /// The process that has this id now.
    pub(in crate::framing) fn now(pid: u32) -> Self {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| {
            let listed = std::process::Command::new("ps")
                .args(["-o", "lstart=", "-p", &pid.to_string()])
                .envs([("LC_ALL", "C"), ("TZ", "UTC")])
                .output()
                .unwrap();
            format!("began {}", String::from_utf8(listed.stdout).unwrap()).split_whitespace().collect::<Vec<_>>().join("_")
        });
        Self::parse(&format!("{pid} {}", line.trim_end())).unwrap()
    }

    /// Another one, which had the same id before.
    pub(super) fn predecessor(&self) -> Self {
        let born = self.born.parse().map_or("began_long_ago".to_owned(), |ticks: u64| (ticks - 1).to_string());
        Self { pid: self.pid, born }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_with_its_start_time_and_nothing_else_gets_into_a_script() {
        let stat = "(a b) 7 (sh) S 1 77 77 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 9 10";
        for (text, expected) in [
            (format!("77 77 {stat}").as_str(), Some("77/123456")),
            (&format!("77 77 ({}", &stat[1..]), Some("77/123456")),
            ("77 began_Sat_Nov_28_21:29:13_2026", Some("77/began_Sat_Nov_28_21:29:13_2026")),
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
            ("77 7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 `id` 20", None),
            (&format!("77 {}", "1".repeat(LONGEST + 1)), None),
        ] {
            assert_eq!(Process::parse(text).map(|process| process.word()).as_deref(), expected, "{text}");
        }
    }
}
