//! The difference between two texts as one replaced part.

/// One part of a text that was replaced. Everything before and after it is the same in both texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Number of bytes before the part.
    pub start: usize,
    /// The part before the change.
    pub old: String,
    /// The part after the change.
    pub new: String,
}

impl Splice {
    /// Returns the smallest part that differs.
    #[must_use]
    pub fn between(before: &str, after: &str) -> Self {
        let prefix = common(before.char_indices(), after.char_indices());
        let (old, new) = (
            before.get(prefix..).unwrap_or_default(),
            after.get(prefix..).unwrap_or_default(),
        );
        let suffix = common_end(old, new);

        Self {
            start: prefix,
            old: old.get(..old.len() - suffix).unwrap_or_default().to_owned(),
            new: new.get(..new.len() - suffix).unwrap_or_default().to_owned(),
        }
    }

    /// Returns the text before the change, or `None` if `after` does not have the new part there.
    #[must_use]
    pub fn revert(&self, after: &str) -> Option<String> {
        let (before, rest) = after.split_at_checked(self.start)?;
        let behind = rest.strip_prefix(self.new.as_str())?;
        Some(format!("{before}{}{behind}", self.old))
    }
}

/// Returns the number of bytes that both texts begin with.
fn common(
    one: impl Iterator<Item = (usize, char)>,
    other: impl Iterator<Item = (usize, char)>,
) -> usize {
    one.zip(other)
        .take_while(|(one, other)| one == other)
        .last()
        .map_or(0, |((position, letter), _)| position + letter.len_utf8())
}

/// Returns the number of bytes that both texts end with.
fn common_end(one: &str, other: &str) -> usize {
    one.chars()
        .rev()
        .zip(other.chars().rev())
        .take_while(|(one, other)| one == other)
        .map(|(letter, _)| letter.len_utf8())
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_insertion_keeps_nothing_of_the_rest() {
        let splice = Splice::between("{\"a\": 1}", "{\"a\": 1, \"b\": 2}");
        assert_eq!(
            splice,
            Splice {
                start: 7,
                old: String::new(),
                new: ", \"b\": 2".to_owned()
            }
        );
        assert_eq!(splice.revert("{}"), None);
    }

    proptest! {
        #[test]
        fn a_splice_leads_back(before in "[aäß\n]{0,12}", after in "[aäß\n]{0,12}") {
            let splice = Splice::between(&before, &after);
            prop_assert_eq!(splice.revert(&after), Some(before));
        }
    }
}
