//! Patterns for the names of sessions.

use std::collections::HashSet;

use crate::openssh::known_hosts::glob_by;

/// Returns true if a wanted name is a pattern: it contains `*`, which stands for any text, or `?`,
/// which stands for one character.
#[must_use]
pub fn is_pattern(wanted: &str) -> bool {
    wanted.contains(['*', '?'])
}

/// Replaces each pattern by the names which match, sorted. Other names stay as they are, whether
/// they are among `names` or not. Each name is returned once, at its first place.
///
/// A pattern that is itself one of the names stands for that name alone.
///
/// # Errors
/// Returns the first pattern that matches no name.
pub fn expand(wanted: Vec<String>, names: &[String]) -> Result<Vec<String>, String> {
    let mut expanded = Vec::new();
    for wanted in wanted {
        if !is_pattern(&wanted) || names.contains(&wanted) {
            expanded.push(wanted);
            continue;
        }

        let mut matching: Vec<_> = names
            .iter()
            .filter(|name| matches(&wanted, name))
            .cloned()
            .collect();

        if matching.is_empty() {
            return Err(wanted);
        }

        matching.sort_unstable();
        expanded.append(&mut matching);
    }

    let mut seen = HashSet::new();
    expanded.retain(|name| seen.insert(name.clone()));

    Ok(expanded)
}

fn matches(pattern: &str, name: &str) -> bool {
    let [pattern, name] = [pattern, name].map(|text| text.chars().collect::<Vec<_>>());
    glob_by(&pattern, &name, |a, b| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn patterns_become_names_in_the_order_given() {
        let names = texts(&["web10", "web2", "db", "büro", "Web1", "a*c", "abc"]);
        for (wanted, expanded) in [
            (&["db", "nobody"][..], &["db", "nobody"][..]),
            (&["web*"], &["web10", "web2"]),
            (&["web?"], &["web2"]),
            (
                &["db", "*b*", "web2"],
                &["db", "Web1", "abc", "büro", "web10", "web2"],
            ),
            (&["b?ro"], &["büro"]),
            (&["web2", "db", "web2"], &["web2", "db"]),
            (&["a*c"], &["a*c"]),
            (&["a?c"], &["a*c", "abc"]),
            (&[], &[]),
        ] {
            assert_eq!(expand(texts(wanted), &names), Ok(texts(expanded)));
        }
    }

    #[test]
    fn the_first_pattern_without_a_match_is_named() {
        let names = texts(&["web1", "db"]);
        for (wanted, unmatched) in [
            (&["web*", "mail*", "x?"][..], "mail*"),
            (&["WEB*"], "WEB*"),
            (&["web1?"], "web1?"),
        ] {
            assert_eq!(expand(texts(wanted), &names), Err(unmatched.to_owned()));
        }
    }
}
