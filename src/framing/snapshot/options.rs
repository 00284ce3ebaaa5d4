//! The options of a shell, as statements that set them.

use super::Snapshot;
use crate::framing::quoting::quote;

/// Options which would end the shell or disturb the restoring. They come last, in this order.
const LAST_OPTIONS: [&str; 5] = ["verbose", "xtrace", "nounset", "posix", "errexit"];
/// Options which belong to the driver, cannot be set, or make the shell read no further.
const NO_OPTIONS: [&str; 8] = [
    "emacs",
    "login_shell",
    "noexec",
    "onecmd",
    "privileged",
    "restricted_shell",
    "vi",
    "interactive",
];
/// Letters of `$-` which `set` takes in every shell.
const OPTION_LETTERS: &str = "abCfuvxe";

impl Snapshot {
    /// Writes a step for setting all options. If setting one fails, the next is set all the same.
    pub(super) fn options(&self, bash: bool) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.options);
        let mut lines = text.lines();

        // Other shells report the letters of `$-` only, so only those letters are set.
        if !bash {
            let enabled = lines.next().unwrap_or_default();
            let set = |letter: char| {
                format!(
                    "\\set {}{letter}\n",
                    if enabled.contains(letter) { '-' } else { '+' }
                )
            };

            return OPTION_LETTERS
                .chars()
                .map(set)
                .collect::<String>()
                .into_bytes();
        }

        let (set_on, shopt_on) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );

        let mut settings: Vec<(usize, String)> = Vec::new();

        for line in lines {
            let mut words = line.split(' ');
            let (Some(command), Some(sign), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };

            let is_on = |list: &str| list.split(':').any(|option| option == name);

            let setting = match command {
                // The output of `set +o` in a subshell is not always true for the shell.
                // `$SHELLOPTS` is.
                "set" => format!(
                    "\\builtin set {}o {name}\n",
                    if is_on(set_on) { '-' } else { '+' }
                ),
                "shopt" => {
                    let is_enabled = if shopt_on.is_empty() {
                        sign == "-s"
                    } else {
                        is_on(shopt_on)
                    };

                    // Switching one of these off switches off the others too.
                    if name.starts_with("compat") && !is_enabled {
                        continue;
                    }

                    format!(
                        "\\builtin shopt -{} {name}\n",
                        if is_enabled { 's' } else { 'u' }
                    )
                }
                _ => continue,
            };

            // The name goes into a script without quotes, so it must be plain.
            let plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));

            if plain && !NO_OPTIONS.contains(&name) {
                let rank = LAST_OPTIONS
                    .iter()
                    .position(|last| *last == name)
                    .map_or(0, |at| at + 1);
                settings.push((rank, setting));
            }
        }

        settings.sort_by_key(|(rank, _)| *rank);
        let settings: String = settings.into_iter().map(|(_, setting)| setting).collect();

        // The status of the last setting says nothing about the others.
        let mut step = b"eval ".to_vec();
        quote(&mut step, format!("{settings}((1))").as_bytes());

        step
    }
}
