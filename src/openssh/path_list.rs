//! Lists of paths, which `ssh -G` prints unquoted on a single line.

/// Splits the value of `UserKnownHostsFile` or `GlobalKnownHostsFile`. `ssh -G` prints the paths
/// unquoted, so blanks inside a path look like blanks between paths. The longest text which
/// `exists` accepts is a path. A path that does not exist ends where the next word looks like the
/// beginning of a path. `none` is an empty list.
#[must_use]
pub fn split_paths(value: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = value.trim_matches(' ');
    if rest.eq_ignore_ascii_case("none") {
        return paths;
    }

    while !rest.is_empty() {
        // A file that exists settles the question, and the longest candidate wins: otherwise `/a b`
        // would be cut at its blank whenever `/a` exists too.
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

/// Replaces the placeholder `__PROGRAMDATA__` in default paths by `folder`, the value of
/// `%ProgramData%`. `ssh -G` of OpenSSH for Windows leaves the placeholder unexpanded.
#[must_use]
pub fn with_program_data(paths: &str, folder: Option<&str>) -> String {
    folder.map_or_else(
        || paths.to_owned(),
        |folder| paths.replace("__PROGRAMDATA__", folder),
    )
}

/// Returns every way to cut a text at a blank, shortest first. Each item holds the text before and
/// after the cut.
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

/// Returns true if a word looks like the beginning of an absolute path on Unix or Windows.
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
        let paths = r"__PROGRAMDATA__\ssh/ssh_known_hosts __PROGRAMDATA__\ssh/ssh_known_hosts2";
        let meant = r"C:\ProgramData\ssh/ssh_known_hosts C:\ProgramData\ssh/ssh_known_hosts2";
        assert_eq!(with_program_data(paths, Some(r"C:\ProgramData")), meant);
        assert_eq!(with_program_data(paths, None), paths);
    }
}
