//! Pages of a file: the same however its bytes are cut, of bounded size, and one after another the whole file.

use crate::edit::{
    kind::Kind,
    page::{Encoding, MAX_CHARACTERS, Page, Pager, Step, Tail},
};

fn page(content: &[u8], first: u64, limit: usize, size: usize) -> Page {
    let mut pager = Pager::new(first, limit);
    for chunk in content.chunks(size.max(1)) {
        pager.push(chunk);
    }
    pager.finish(true)
}

fn tail(content: &[u8], wanted: u64, limit: usize, size: usize) -> Page {
    let mut tail = Tail::new(wanted, limit, Encoding::of(content), content.len() as u64);
    loop {
        let end = usize::try_from(tail.position()).unwrap_or_default();
        let chunk = &content[end.saturating_sub(size)..end];
        if end == 0 || tail.push(chunk.to_vec()) == Step::Enough {
            return tail.finish(None);
        }
    }
}

/// Tries one input: three bytes for first line, limit and size of chunks, then the content.
pub fn run(data: &[u8]) {
    let [first, limit, size, content @ ..] = data else {
        return;
    };
    let (first, limit, size) = (
        u64::from(*first),
        usize::from(*limit),
        usize::from(*size) + 1,
    );
    let _ = Kind::of(content);

    let whole = page(content, first, limit, content.len());
    assert_eq!(whole, page(content, first, limit, size));
    assert!(whole.text.chars().count() <= MAX_CHARACTERS);
    assert_eq!(whole.shown, whole.text.lines().count());
    assert!(!whole.text.contains('\u{1b}') && !whole.text.contains('\r'));
    assert_eq!(whole.text.is_empty(), whole.shown == 0);
    assert!(
        whole.next_offset() != Some(whole.first),
        "the next page is another one"
    );

    // The end of the file has the same lines, whichever way it was read.
    let wanted = first.max(1);
    let total = whole.total.unwrap_or_default();
    let from_end = tail(content, wanted, limit, size);
    let from_start = page(
        content,
        total.saturating_sub(wanted) + 1,
        limit,
        content.len(),
    );
    let texts = |page: &Page| -> Vec<String> {
        let lines = page.text.lines().filter_map(|line| line.split_once('\t'));
        lines.map(|(_, text)| text.to_owned()).collect()
    };
    assert_eq!(texts(&from_end), texts(&from_start));
}
