//! Upper limit on the length of an answer, for all tools.

use rmcp::model::{CallToolResult, ContentBlock};

/// Maximum length of the texts of an answer together, in characters. Claude Code shows a preview of
/// 2 kB instead of more than 50,000 characters, and Codex cuts at about 48,000.
pub(in crate::mcp) const MAX_ANSWER_CHARS: usize = 40_000;
/// Length below which no text is cut, in characters.
const MIN_CUT_CHARS: usize = 200;
/// Room for the note about a cut, in characters.
const NOTE_CHARS: usize = 50;

/// Cuts the longest texts of an answer in the middle until all together are short enough. The last
/// text is cut last, since it holds the status line.
pub(in crate::mcp) fn bounded(mut answer: CallToolResult) -> CallToolResult {
    let length = |block: &ContentBlock| block.as_text().map_or(0, |text| text.text.chars().count());

    loop {
        let lengths: Vec<usize> = answer.content.iter().map(length).collect();
        let excess = lengths
            .iter()
            .sum::<usize>()
            .saturating_sub(MAX_ANSWER_CHARS);
        if excess == 0 {
            return answer;
        }

        let (others, last) = lengths.split_at(lengths.len().saturating_sub(1));
        let longest = others.iter().enumerate().max_by_key(|(_, length)| **length);

        // Cutting only helps where more goes than the note about the cut adds.
        let index = match longest {
            Some((index, length)) if *length > MIN_CUT_CHARS => index,
            _ if last.iter().any(|length| *length > MIN_CUT_CHARS) => others.len(),
            _ => return answer,
        };

        if let Some(ContentBlock::Text(text)) = answer.content.get_mut(index) {
            text.text = cut(&text.text, excess);
        }
    }
}

/// Leaves out the middle of a text: `excess` characters and room for the note that counts them, but
/// so that something is left at both ends.
fn cut(text: &str, excess: usize) -> String {
    let length = text.chars().count();
    let kept = length
        .saturating_sub(excess + NOTE_CHARS)
        .max(MIN_CUT_CHARS / 2);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let beginning: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();

    format!(
        "{beginning}\n[… {} characters left out …]\n{end}",
        length - kept
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(texts: &[usize]) -> (Vec<usize>, String) {
        let texts = texts
            .iter()
            .map(|length| ContentBlock::text("é".repeat(*length)));
        let bounded = bounded(CallToolResult::success(texts.collect()));
        let texts: Vec<_> = bounded
            .content
            .iter()
            .map(|block| block.as_text().unwrap().text.clone())
            .collect();
        let counts = texts.iter().map(|text| text.chars().count()).collect();
        (counts, texts.concat())
    }

    #[test]
    fn an_answer_that_fits_stays_as_it_is() {
        assert_eq!(lengths(&[30_000, 9_000, 1_000]).0, [30_000, 9_000, 1_000]);
    }

    #[test]
    fn the_longest_texts_are_cut_and_the_status_line_stays() {
        for texts in [
            &[100_000, 1_000][..],
            &[30_000, 30_000, 500],
            &[10, 900_000],
            &[25_000, 25_000, 25_000, 25_000, 300],
        ] {
            let (counts, text) = lengths(texts);
            assert!(
                counts.iter().sum::<usize>() <= MAX_ANSWER_CHARS,
                "{counts:?}"
            );
            assert!(text.contains("characters left out"), "{counts:?}");
            if texts.last() < Some(&1_001) {
                assert_eq!(counts.last(), texts.last());
            }
        }
    }

    #[test]
    fn many_short_texts_do_not_cut_for_ever() {
        let (counts, _) = lengths(&[150; 400]);
        assert_eq!(counts.len(), 400);
    }
}
