//! The last line of an answer: how the command is, and what the next step needs.

use super::{CommandReport, CommandState, blocks, words::how_it_ended};
use crate::{capture::Nature, foreign_text::escape_line};

impl CommandReport<'_> {
    /// Describes the state of the command. These words come first in a status line.
    pub(super) fn state_parts(&self) -> Vec<String> {
        match &self.state {
            CommandState::Ended(finished) => vec![how_it_ended(&finished.command)],
            CommandState::Queued {
                behind: Some(ahead),
            } => vec![format!("queued behind job {ahead}, not begun")],
            CommandState::Queued { behind: None } => {
                vec!["queued, not begun: its shell is not ready yet".to_owned()]
            }
            CommandState::Running { prompt } => {
                let mut parts = vec!["running".to_owned()];
                parts.extend(prompt.as_ref().map(|prompt| {
                    let words: Vec<&str> = prompt.split_whitespace().collect();
                    let prompt = escape_line(words.join(" ").as_bytes());
                    format!("waits for input at {prompt:?}")
                }));

                parts
            }
        }
    }

    /// Returns the status line, in brackets. The line names the job and the time if given.
    /// `spoofed_markers` is the number of imitations in the output above.
    pub(super) fn status_line(
        &self,
        job: Option<&str>,
        time: Option<String>,
        spoofed_markers: usize,
    ) -> String {
        // The state comes first, since `blocks::spoofed_markers` recognises a status line by these
        // words.
        let mut parts = self.state_parts();

        parts.extend(
            self.names_session
                .then(|| format!("session {}", self.session)),
        );

        parts.extend(self.other_user().map(|user| format!("as {user}")));
        parts.extend(job.map(|job| format!("job {job}")));
        parts.extend(self.detached.then(|| "detached".to_owned()));
        parts.extend(time);

        parts.extend(self.directory().map(|directory| format!("cwd {directory}")));

        // After trouble with the local file, the file does not have the whole output.
        let label = if self.unseen.output.trouble.is_some() {
            "what could be kept of it"
        } else {
            "all of it"
        };

        let mut is_anything_new = false;

        for (name, stream, file, from) in [
            (
                "stdout",
                &self.unseen.output.stdout,
                &self.unseen.output.stdout_file,
                self.unseen.from.stdout,
            ),
            (
                "stderr",
                &self.unseen.output.stderr,
                &self.unseen.output.stderr_file,
                self.unseen.from.stderr,
            ),
        ] {
            let is_empty = stream.text().is_empty();
            is_anything_new |= !is_empty;
            if is_empty && from > 0 {
                continue;
            }

            // The reader can go back with this offset.
            parts.extend((from > 0).then(|| format!("{name} from byte {from}")));

            // The file of a stream that is shown byte for byte adds nothing.
            let nature = stream.nature();
            let is_shown = nature == Nature::Text
                && stream.decoded_from.is_none()
                && stream.kept() as u64 == stream.total;
            let path = file
                .as_ref()
                .filter(|_| !is_shown)
                .map(|path| path.display());

            let name = match nature {
                Nature::Text if stream.decoded_from.is_some() => {
                    format!("{name} is {},", stream.decoded_from.unwrap_or_default())
                }
                Nature::Text => name.to_owned(),
                Nature::NotUtf8 => format!("{name} is not UTF-8,"),
                Nature::Binary(_) => format!("{name} is binary,"),
            };

            // A file may exist even if the answer has left nothing out, for instance with a
            // terminal. It is of use once it is whole.
            let is_whole = matches!(self.state, CommandState::Ended(_));
            if stream.omitted() > 0 {
                let path = path
                    .map(|path| format!(", {label} in {path}"))
                    .unwrap_or_default();
                parts.push(format!("{name} {} bytes{path}", stream.total));
            } else if let Some(path) = path.filter(|_| is_whole) {
                parts.push(format!("{name} as it came in {path}"));
            } else if name.ends_with(',') {
                parts.push(name.trim_end_matches(',').to_owned());
            }
        }

        parts.extend(
            self.unseen
                .more
                .then(|| format!("more from offset {}", self.unseen.next)),
        );

        let was_shown = self.unseen.from.stdout > 0 || self.unseen.from.stderr > 0;
        if was_shown && !is_anything_new && matches!(self.state, CommandState::Ended(_)) {
            parts.push("nothing new; offset: 0 reads it again".to_owned());
        }

        // A model that has not used jobs before learns the next step from this line.
        if let (CommandState::Running { .. }, Some(_)) = (&self.state, self.job) {
            parts.push("ssh_job continues".to_owned());
        }

        // A command that never ends would block its shell for good, so the line names the ways out.
        if let (CommandState::Queued { behind }, Some(_)) = (&self.state, self.job) {
            parts.extend(behind.as_ref().map(|ahead| {
                format!("to go on now: another shell, ssh_exec, or stop job {ahead} with ssh_job")
            }));
            parts.push("ssh_job waits for it or stops it".to_owned());
        }

        parts.extend(self.ports.iter().map(ToString::to_string));
        parts.extend(self.notices());
        parts.extend(blocks::warning(spoofed_markers));

        format!("[{}]", escape_line(parts.join(" · ").as_bytes()))
    }
}
