//! What the programs of a host say about files, and an SFTP server about accounts: only what is in the answer, within
//! bounds.

use bytes::Bytes;

use crate::{
    framing::read_file::{names, parse, parse_details},
    sftp::reply::AccountNames,
};

/// Tries one input: a byte for the number of entries, then an answer.
pub fn run(data: &[u8]) {
    let Some((&count, answer)) = data.split_first() else {
        return;
    };
    let is_part = |part: &[u8]| part.is_empty() || memchr::memmem::find(answer, part).is_some();

    if let Some(file) = parse(answer) {
        assert!(answer.ends_with(file.content));
        for path in [Some(file.directory), file.resolved].into_iter().flatten() {
            assert!(path.starts_with(b"/") && path.len() <= 4096 && is_part(path));
            assert!(!path.contains(&0));
        }
        assert!(
            file.facts
                .owner
                .as_ref()
                .is_none_or(|owner| owner.len() <= 128)
        );

        let after_noise = [b"Welcome\0\n", answer].concat();
        assert_eq!(parse(&after_noise), Some(file.clone()));

        let (listed, is_whole) = names(file.content);
        let total: usize = listed.iter().map(|name| name.len() + 1).sum();
        assert!(total <= file.content.len());
        for name in &listed {
            assert!(!name.contains(&0) && !matches!(*name, b"" | b"." | b".."));
        }
        // The same names and an end.
        let whole = [
            &listed.join(&0)[..],
            if listed.is_empty() { b"" } else { b"\0" },
            b"\0",
        ]
        .concat();
        assert_eq!(names(&whole), (listed, true), "{is_whole}");
    }

    let details = parse_details(answer, usize::from(count));
    assert_eq!(details.len(), usize::from(count));
    for (facts, target) in details {
        assert!(facts.owner.is_none_or(|owner| owner.len() <= 128));
        assert!(target.is_none_or(|target| !target.contains(&0) && is_part(&target)));
    }

    if let Ok(accounts) = AccountNames::read(Bytes::copy_from_slice(answer)) {
        let written = [accounts.users, accounts.groups].map(|list| {
            let list = list
                .iter()
                .map(|name| string(name))
                .collect::<Vec<_>>()
                .concat();
            string(&list)
        });
        assert!(answer.starts_with(&written.concat()));
    }
}

/// A string of SFTP.
fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short input");
    [&length.to_be_bytes()[..], bytes].concat()
}
