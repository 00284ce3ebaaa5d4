//! Any bytes arrive.

use std::fs;

use super::{Change, ChangeEnd, edit_file, hosts, loaded};

/// Files whose bytes could be taken for something else.
fn contents() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let pairs = (0..=255).flat_map(|byte| [0x81, byte, 0x7f, byte, 1]);
    let large = (0..4 << 20).map(|at: u32| match at % 61 {
        60 => b'\n',
        _ => (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0],
    });

    vec![
        b"".to_vec(),
        b"\n".to_vec(),
        b"\n\n\n".to_vec(),
        b"no newline at the end".to_vec(),
        b"crlf\r\nlf\n\r".to_vec(),
        b"-n\\c%s%%\\\\0101\\'\"$(touch x)`touch y`${HOME}!!\n".to_vec(),
        b"EOF\nEOF\n'EOF'\n\\\n'\n".to_vec(),
        b"caf\xe9\xff\xfe\xc3\n".to_vec(),
        b"\xff\xfea\0\n\0\0\0".to_vec(),
        [all.clone(), all].concat(),
        pairs.collect(),
        b"'".repeat(100_000),
        b"-".repeat(70_000),
        large.collect(),
    ]
}

#[test]
fn any_bytes_are_written_and_loaded_by_any_shell() {
    for host in hosts() {
        let path = host.path("file");
        let mut old = b"old\n".to_vec();
        fs::write(&path, &old).unwrap();

        for new in contents() {
            assert_eq!(host.write(&path, &old, &new), host.rewritten());
            assert!(fs::read(&path).unwrap() == new, "{} bytes", new.len());
            host.assert_only(&["file"]);

            let answer = host.run(&edit_file::load(super::bytes(&path), 4 << 20));
            let found = edit_file::parse_found(&answer).unwrap();
            assert!(found.content == new, "{} bytes are loaded", new.len());
            old = new;
        }

        for new in contents() {
            let path = host.path("created");
            assert_eq!(host.create(&path, &new, false), Change::done());
            assert!(fs::read(&path).unwrap() == new, "{} bytes", new.len());
            fs::remove_file(&path).unwrap();
        }
        host.assert_only(&["file"]);
    }
}

#[test]
fn any_bytes_are_written_in_place() {
    for host in hosts() {
        let path = host.path("file");
        let mut old = b"old\n".to_vec();
        fs::write(&path, &old).unwrap();
        fs::hard_link(&path, host.path("other name")).unwrap();

        for new in contents() {
            assert_eq!(host.write(&path, &old, &new), Change::in_place("links"));
            assert!(fs::read(host.path("other name")).unwrap() == new);
            old = new;
        }
        host.assert_only(&["file", "other name"]);
    }
}

#[test]
fn a_file_with_other_content_is_not_touched() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"is so\n").unwrap();
        let changed = Change::ended(ChangeEnd::Changed);

        for old in [&b"is no\n"[..], b"", b"is so", b"is so\n\n"] {
            assert_eq!(host.write(&path, old, b"new"), changed);
            let script = edit_file::delete(loaded(&path, old));
            assert_eq!(Change::read(&host.run(&script)), changed);
            let to = host.path("to");
            let script = edit_file::rename(loaded(&path, old), super::bytes(&to), true);
            assert_eq!(Change::read(&host.run(&script)), changed);
        }

        assert_eq!(fs::read(&path).unwrap(), b"is so\n");
        host.assert_only(&["file"]);
    }
}

#[test]
fn a_host_with_no_program_for_sha_256_compares_with_cksum() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"old\n").unwrap();
        let without = |script: Vec<u8>| {
            let script = String::from_utf8(script).unwrap();
            let script = script.replace("sha256sum '", "none '");
            let script = script.replace(
                "'openssl dgst -sha256 -r' 'shasum -a 256' 'sha256 -q'",
                "none",
            );
            script.into_bytes()
        };

        let other = without(super::write_script(&path, b"odl\n", b"new\n"));
        let other = Change::read(&host.run(&other));
        if host.is_busybox() {
            // Debian's has no cksum.
            other.assert_failed("neither sha256sum nor cksum is installed");
            continue;
        }
        assert_eq!(other, Change::ended(ChangeEnd::Changed));
        let script = without(super::write_script(&path, b"old\n", b"new\n"));
        assert_eq!(Change::read(&host.run(&script)), Change::done());
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }
}

#[test]
fn a_script_that_arrives_in_part_changes_nothing() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"old\n").unwrap();
        let script = super::write_script(&path, b"old\n", &b"new\n".repeat(20_000));

        let last_line = script.len() - b"write </dev/null\n".len();
        for length in [
            10,
            500,
            40_000,
            80_000,
            last_line - 1,
            last_line,
            last_line + 3,
        ] {
            let mut child = host.begin(&script[..length], None);
            child.child.wait().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old\n", "{length}");
        }
        host.assert_only(&["file"]);
    }
}
