//! Rows of what else a file is: its mode, owner, attributes and links, and where it is.

use super::{
    row::{Row, becomes, beta, beta_becomes, beta_in, edited, refused, replace_in, row, with},
    server::Server,
};

pub(super) fn rows() -> Vec<Row> {
    [modes(), attributes(), links(), places(), file_systems()]
        .into_iter()
        .flatten()
        .collect()
}

fn modes() -> Vec<Row> {
    vec![
        row("mode 4750", "chmod 4750 f", beta(), edited()),
        row("mode 2755", "chmod 2755 f", beta(), edited()),
        row("mode 1600", "chmod 1600 f", beta(), edited()),
        row("mode 7777", "chmod 7777 f", beta(), edited()),
        row("mode 0666", "chmod 666 f", beta(), edited()),
        row("mode 0444, as root", "chmod 444 f", beta(), edited()).only(Server::as_root),
        row(
            "mode 0444",
            "chmod 444 f",
            beta(),
            refused(&["permission denied"]),
        )
        .only(Server::as_user),
        row(
            "a foreign owner, 0640",
            "chown 1234:2345 f; chmod 640 f",
            beta(),
            edited(),
        )
        .only(Server::as_root),
        row(
            "a foreign owner, 6755",
            "chown 1234:2345 f; chmod 6755 f",
            beta(),
            edited(),
        )
        .only(Server::as_root),
        row(
            "in a private directory of others",
            "mkdir d; mv f d; chmod 600 d/f; chmod 700 d; chown -R 1234:2345 d",
            beta_in("$D/d/f"),
            beta_becomes("d/f"),
        )
        .only(Server::as_root),
        row("mode 0000, as root", "chmod 0 f", beta(), edited()).only(Server::as_root),
        row(
            "a private file in a setgid directory",
            "chmod 600 f; chgrp 2345 .; chmod 2775 .",
            beta(),
            edited(),
        )
        .only(Server::as_root),
    ]
}

fn attributes() -> Vec<Row> {
    vec![
        row("ACL", "setfacl -m u:1234:r,g:2345:rw f", beta(), edited()),
        row(
            "ACL with a narrow mask",
            "setfacl -m u:1234:rw,m::r f; chmod g-w f",
            beta(),
            edited(),
        ),
        row(
            "ACL for later files of the directory",
            "setfacl -d -m u:1234:rwx,o::- .",
            beta(),
            edited(),
        ),
        row(
            "attribute",
            "setfattr -n user.note -v 'kept' f",
            beta(),
            edited(),
        ),
        row(
            "attributes, ACL and a foreign owner",
            "setfattr -n user.note -v 0sAAH/ f; setfacl -m u:1:r f; chown 1234:2345 f; chmod u+s f",
            beta(),
            edited(),
        )
        .only(Server::as_root),
        row(
            "trusted attribute",
            "setfattr -n trusted.note -v x f || exit 75",
            beta(),
            edited(),
        )
        .only(Server::as_root),
    ]
}

fn links() -> Vec<Row> {
    vec![
        row(
            "hard link",
            "ln f g",
            beta(),
            edited().and_swapped("g", "beta", "BETA"),
        ),
        row(
            "three names, mode 4755",
            "chmod 4755 f; mkdir d; ln f d/g; ln f h",
            beta(),
            edited()
                .and_swapped("d/g", "beta", "BETA")
                .and_swapped("h", "beta", "BETA"),
        ),
        row("symbolic link", "ln -s f l", beta_in("$D/l"), edited()),
        row(
            "absolute symbolic link",
            "ln -s \"$PWD/f\" l",
            beta_in("$D/l"),
            edited(),
        )
        .only(|server| server.sees_mounts),
        row(
            "links over links",
            "mkdir d e; mv f d; ln -s ../d/f e/l; ln -s e/l m; ln -s m n",
            beta_in("$D/n"),
            beta_becomes("d/f"),
        ),
        row(
            "a linked directory",
            "mkdir d; mv f d; ln -s d e",
            beta_in("$D/e/f"),
            beta_becomes("d/f"),
        ),
        row(
            "up from a linked directory",
            "mkdir -p d/e; cp f d/f; rm f; ln -s d/e l",
            beta_in("$D/l/../f"),
            beta_becomes("d/f"),
        ),
        row(
            "a link to a file with two names",
            "ln f g; ln -s g l",
            beta_in("$D/l"),
            edited().and_swapped("g", "beta", "BETA"),
        ),
        row(
            "dangling link",
            "ln -s gone l",
            beta_in("$D/l"),
            refused(&["link", "gone"]),
        ),
        row(
            "link loop",
            "ln -s l k; ln -s k l",
            beta_in("$D/l"),
            refused(&["link"]),
        ),
        row(
            "link to itself",
            "ln -s l l",
            beta_in("$D/l"),
            refused(&["link"]),
        ),
        row(
            "link to a directory",
            "mkdir d; ln -s d l",
            beta_in("$D/l"),
            refused(&["directory"]),
        ),
    ]
}

/// Directories and file systems.
fn places() -> Vec<Row> {
    let only: fn(&Server) -> bool = |server| server.as_root() && server.sees_mounts;
    vec![
        row(
            "a directory that nobody may write to",
            "chmod 555 .",
            beta(),
            edited(),
        ),
        row("immutable", "chattr +i f || exit 75", beta(), refused(&[]))
            .only(only)
            .finally("chattr -i f"),
        row(
            "append only",
            "chattr +a f || exit 75",
            beta(),
            refused(&[]),
        )
        .only(only)
        .finally("chattr -a f"),
        row(
            "an immutable directory",
            "mkdir d; mv f d; chattr +i d || exit 75",
            beta_in("$D/d/f"),
            beta_becomes("d/f").or_refused(&[]),
        )
        .only(only)
        .finally("chattr -i d"),
    ]
}

fn file_systems() -> Vec<Row> {
    let only: fn(&Server) -> bool = |server| server.as_root() && server.sees_mounts;
    let full =
        "mkdir m; mount -t tmpfs -o size=64k none m || exit 75; yes beta | head -c 40000 > m/f";
    let full_with_links = "mkdir m; mount -t tmpfs -o size=64k none m || exit 75; \
                           yes beta | head -c 40000 > m/f; ln m/f m/g";
    let grows = with(
        replace_in("$D/m/f", "beta", "a longer text"),
        "replaceAll",
        true,
    );
    vec![
        row(
            "a file system that is read only",
            "mkdir m; mount -t tmpfs none m || exit 75; cp f m/f; mount -o remount,ro m",
            beta_in("$D/m/f"),
            refused(&[]),
        )
        .only(only)
        .finally("umount -l m"),
        row("a full disk", full, grows.clone(), refused(&[]))
            .only(only)
            .finally("umount -l m"),
        row(
            "a full disk, and two names",
            full_with_links,
            grows,
            refused(&[]),
        )
        .only(only)
        .finally("umount -l m"),
        row(
            "a file that is mounted",
            "cp f g; mount --bind f g || exit 75",
            beta_in("$D/g"),
            edited().and_swapped("g", "beta", "BETA"),
        )
        .only(only)
        .finally("umount -l g"),
        row(
            "a write-only file, as root",
            "chmod 200 f",
            beta(),
            becomes("f", "alpha\nBETA\ngamma\n"),
        )
        .only(Server::as_root),
    ]
}
