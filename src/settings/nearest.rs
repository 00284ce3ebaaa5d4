//! The word that was probably meant.

/// Returns the candidate that is nearest to a word, if it is near enough to be a slip of the
/// keyboard.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    /// Limit of the length of a word, in characters: a longer one is no slip.
    const MAX_WORD: usize = 20;
    /// Limit of the letters that are wrong.
    const MAX_SLIPS: usize = 2;

    let word: Vec<char> = word.to_lowercase().chars().take(MAX_WORD + 1).collect();
    if word.len() > MAX_WORD {
        return None;
    }

    candidates
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(slips, candidate)| *slips <= MAX_SLIPS && *slips * 2 <= candidate.len())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Returns how many letters have to be added, left out or replaced (Levenshtein distance).
fn distance(word: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();

    for (line, letter) in candidate.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];

        for ((found, above), above_left) in word.iter().zip(row.iter().skip(1)).zip(&row) {
            let replaced = above_left + usize::from(*found != letter);
            left = replaced.min(above + 1).min(left + 1);
            next.push(left);
        }

        row = next;
    }

    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised() {
        const KEYS: [&str; 5] = ["connect", "access", "run", "sudo", "forward"];

        for (word, expected) in [
            ("acess", Some("access")),
            ("Access", Some("access")),
            ("acces", Some("access")),
            ("conect", Some("connect")),
            ("foward", Some("forward")),
            ("forwards", Some("forward")),
            ("sud", Some("sudo")),
            ("rum", Some("run")),
            ("", None),
            ("x", None),
            ("colour", None),
            ("a very long key that is none of them", None),
        ] {
            assert_eq!(nearest(word, &KEYS), expected, "{word}");
        }
    }
}
