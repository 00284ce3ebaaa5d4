//! Lists of paths that `ssh -G` prints unquoted on one line.

/// Splits the value of `UserKnownHostsFile` or `GlobalKnownHostsFile`. `ssh -G` prints the paths unquoted, so
/// that blanks inside a path look like blanks between paths: the longest text that `exists` says is a file
/// wins, and what does not exist yet ends where the next word looks like the start of a path. `none` is empty.
#[must_use]
pub fn split_paths(value: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = value.trim_matches(' ');
    if rest.eq_ignore_ascii_case("none") {
        return paths;
    }

    while !rest.is_empty() {
        let (path, after) = prefixes(rest)
            .rev()
            .find(|(path, _)| exists(path))
            .or_else(|| {
                prefixes(rest)
                    .find(|(_, after)| !is_absolute(rest) || is_absolute(after) || after.is_empty())
            })
            .unwrap_or((rest, ""));

        paths.push(path.to_owned());
        rest = after;
    }

    paths
}

/// Puts `folder`, the value of `%ProgramData%`, where `ssh -G` of OpenSSH for Windows leaves `__PROGRAMDATA__` in its
/// default paths.
#[must_use]
pub fn with_program_data(paths: &str, folder: Option<&str>) -> String {
    folder.map_or_else(
        || paths.to_owned(),
        |folder| paths.replace("__PROGRAMDATA__", folder),
    )
}

/// Every way to cut `text` at a blank, shortest first: the words before the cut and what follows it.
fn prefixes(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    let cuts = text
        .match_indices(' ')
        .map(|(at, _)| at)
        .collect::<Vec<_>>();

    cuts.into_iter()
        .chain([text.len()])
        .map(|at| text.split_at(at))
        .map(|(path, after)| (path.trim_end_matches(' '), after.trim_start_matches(' ')))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(['/', '\\', '~']) || path.chars().nth(1) == Some(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_paths_are_split_where_files_exist() {
        let files = ["/a b/kh", "/c", "kh", "/a", "/d e"];
        for (value, expected) in [
            (
                "/home/u/.ssh/known_hosts /home/u/.ssh/known_hosts2",
                vec!["/home/u/.ssh/known_hosts", "/home/u/.ssh/known_hosts2"],
            ),
            ("/a b/kh /c", vec!["/a b/kh", "/c"]),
            ("/c /a b/kh", vec!["/c", "/a b/kh"]),
            (
                "C:/Users/Ann Lee/.ssh/known_hosts C:/Users/Ann Lee/x",
                vec!["C:/Users/Ann Lee/.ssh/known_hosts", "C:/Users/Ann Lee/x"],
            ),
            ("kh kh2  /d e", vec!["kh", "kh2", "/d e"]),
            ("none", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(
                split_paths(value, |path| files.contains(&path)),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn the_folder_of_all_windows_users_is_filled_in() {
        let printed = r"__PROGRAMDATA__\ssh/ssh_known_hosts __PROGRAMDATA__\ssh/ssh_known_hosts2";
        let meant = r"C:\ProgramData\ssh/ssh_known_hosts C:\ProgramData\ssh/ssh_known_hosts2";
        assert_eq!(with_program_data(printed, Some(r"C:\ProgramData")), meant);
        assert_eq!(with_program_data(printed, None), printed);
    }
}
