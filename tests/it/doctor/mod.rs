//! `mcp-ssh-sessions doctor HOST`: what a person reads, in situations that people have, and that nothing is changed.

mod keys;
mod report;
mod servers;
mod way;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::daemon;

/// What the program said of a host.
struct DoctorOutput {
    code: Option<i32>,
    text: String,
}

impl DoctorOutput {
    /// Checks the exit status and that each of these is in a line of its own, in this order.
    #[track_caller]
    fn says(&self, connects: bool, parts: &[&str]) {
        let text = &self.text;
        assert_eq!(self.code, Some(i32::from(!connects)), "{text}");
        let mut lines = text.lines();

        for part in parts {
            assert!(
                lines.any(|line| line.contains(part)),
                "no {part:?}, or not there, in:\n{text}"
            );
        }

        // What is not fit for a terminal: a pipe gets no colours, and no server gets through with its own.
        assert!(
            !text.contains(|letter: char| letter.is_control() && letter != '\n'),
            "{text:?}"
        );
    }
}

/// Runs the program for `box` of this configuration, with a home of its own, in which nothing may change; nor may any of
/// the files in `watched`.
async fn doctor(config: &Path, watched: &[&Path]) -> DoctorOutput {
    doctor_of(config, watched, &["box"], |_| {}).await
}

/// The same with other arguments, in a home that is prepared.
async fn doctor_of(
    config: &Path,
    watched: &[&Path],
    arguments: &[&str],
    prepare: impl Fn(&Path),
) -> DoctorOutput {
    let home = tempfile::tempdir().unwrap();
    prepare(home.path());
    let all = [watched, &[home.path()]].concat();
    let before = contents(&all);
    let mut command = daemon::command(config, home.path());
    let (code, text, _) = daemon::output(command.arg("doctor").args(arguments)).await;
    assert_eq!(before, contents(&all), "something was changed");

    DoctorOutput { code, text }
}

/// Every file in these places, and what it holds.
fn contents(places: &[&Path]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left: Vec<PathBuf> = places.iter().map(|path| path.to_path_buf()).collect();

    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if let Ok(bytes) = fs::read(&path) {
            files.insert(path, bytes);
        }
    }

    files
}
