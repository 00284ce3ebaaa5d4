//! Arguments of `LocalForward`, `RemoteForward` and `DynamicForward` in a configuration file.

/// Returns the arguments of a forward in a configuration file as `ssh -G` prints them. `None` if
/// `ssh` refuses them. Names of services are not known.
pub(in crate::openssh) fn printed(keyword: &str, arguments: &[String]) -> Option<String> {
    let (is_dynamic, specification) = match (keyword, arguments) {
        ("dynamicforward" | "remoteforward", [listen]) => (true, listen.clone()),
        ("localforward" | "remoteforward", [listen, to]) => (false, format!("{listen}:{to}")),
        _ => return None,
    };

    let fields = fields(&specification)?;
    let port = |field: &Field, lowest: u16| {
        let number: u16 = field.text.parse().ok()?;
        (number >= lowest).then_some(number)
    };
    let lowest = u16::from(keyword != "remoteforward");

    let listen = |host: Option<&Field>, number: &Field| {
        let number = port(number, lowest)?;
        Some(match host {
            Some(host) => format!("[{}]:{number}", host.text),
            None => number.to_string(),
        })
    };
    let to = |host: &Field, number: &Field| Some(format!("[{}]:{}", host.text, port(number, 1)?));

    let (listen, to) = match (is_dynamic, fields.as_slice()) {
        (true, [path]) if path.is_path => (path.text.clone(), None),
        (true, [number]) => (listen(None, number)?, None),
        (true, [host, number]) if !number.is_path => (listen(Some(host), number)?, None),
        (false, [from, to]) if from.is_path && to.is_path => {
            (from.text.clone(), Some(to.text.clone()))
        }
        (false, [number, path]) if path.is_path => (listen(None, number)?, Some(path.text.clone())),
        (false, [path, host, number]) if path.is_path => {
            (path.text.clone(), Some(to(host, number)?))
        }
        (false, [host, number, path]) if path.is_path => {
            (listen(Some(host), number)?, Some(path.text.clone()))
        }
        (false, [number, host, far]) => (listen(None, number)?, Some(to(host, far)?)),
        (false, [host, number, far_host, far]) => {
            (listen(Some(host), number)?, Some(to(far_host, far)?))
        }
        _ => return None,
    };

    Some(match (keyword, to) {
        (_, Some(to)) => format!("{listen} {to}"),
        ("remoteforward", None) => format!("{listen} [socks]:0"),
        (_, None) => listen,
    })
}

/// Part of a forward's specification between colons.
struct Field {
    text: String,
    /// True if the text is a path, since it has a slash.
    is_path: bool,
}

/// Splits a specification at its colons. Brackets and backslashes protect a colon.
fn fields(specification: &str) -> Option<Vec<Field>> {
    let (mut fields, mut rest) = (Vec::new(), specification.trim_start());

    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (text, after) = inside.split_once(']')?;
            if !(after.is_empty() || after.starts_with(':')) {
                return None;
            }

            fields.push(Field {
                text: text.to_owned(),
                is_path: text.contains('/'),
            });
            rest = after.strip_prefix(':').unwrap_or(after);
            continue;
        }

        let (mut text, mut letters) = (String::new(), rest.chars());
        loop {
            match letters.next() {
                None | Some(':') => break,
                Some('\\') => text.push(letters.next()?),
                Some(letter) => text.push(letter),
            }
        }

        let is_path = text.contains('/');
        fields.push(Field { text, is_path });
        rest = letters.as_str();
    }

    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_printed_as_by_ssh() {
        // Each value is what OpenSSH 9.2 prints.
        for (keyword, arguments, expected) in [
            ("localforward", "8080 db:5432", "8080 [db]:5432"),
            (
                "localforward",
                "127.0.0.1:80 [::1]:80",
                "[127.0.0.1]:80 [::1]:80",
            ),
            (
                "localforward",
                "[::1]:80 [fe80::1%eth0]:8",
                "[::1]:80 [fe80::1%eth0]:8",
            ),
            ("localforward", "*:80 db:1", "[*]:80 [db]:1"),
            ("localforward", ":80 db:1", "[]:80 [db]:1"),
            ("localforward", "080 db:+80:", "80 [db]:80"),
            ("localforward", "80 :80", "80 []:80"),
            ("localforward", "/a /b", "/a /b"),
            ("localforward", "/a db:1", "/a [db]:1"),
            ("localforward", "80 /b\\:c", "80 /b:c"),
            ("localforward", "h:80 /b", "[h]:80 /b"),
            ("localforward", "80 db/1", "80 db/1"),
            ("localforward", "80 %h:80", "80 [%h]:80"),
            ("dynamicforward", "1080", "1080"),
            ("dynamicforward", "localhost:1081", "[localhost]:1081"),
            ("dynamicforward", "[::1]:1082", "[::1]:1082"),
            ("dynamicforward", "/d", "/d"),
            ("remoteforward", "0 h:1", "0 [h]:1"),
            ("remoteforward", "0", "0 [socks]:0"),
            ("remoteforward", "9091", "9091 [socks]:0"),
            (
                "remoteforward",
                "localhost:9092",
                "[localhost]:9092 [socks]:0",
            ),
            ("remoteforward", "/x", "/x [socks]:0"),
        ] {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            let found = printed(keyword, &arguments);
            assert_eq!(found.as_deref(), Some(expected), "{keyword} {arguments:?}");
        }
    }

    #[test]
    fn arguments_that_ssh_refuses_are_refused() {
        for (keyword, arguments) in [
            ("localforward", "80"),
            ("localforward", "80 db"),
            ("localforward", "80 99"),
            ("localforward", "80 db:0"),
            ("localforward", "0 db:1"),
            ("localforward", "70000 db:1"),
            ("localforward", "-1 db:1"),
            ("localforward", "80 db:1 x"),
            ("localforward", "80:db:1"),
            ("localforward", "::1:80 db:1"),
            ("localforward", "80 ::1:80"),
            ("localforward", "80 [::1"),
            ("localforward", "80 [::1]x:1"),
            ("localforward", "/a b"),
            ("localforward", "/a:b c:1"),
            ("localforward", "80 C:/x"),
            ("localforward", "80 x\\"),
            ("localforward", "1 a:1:2:3"),
            ("dynamicforward", "0"),
            ("dynamicforward", "none"),
            ("dynamicforward", "localhost"),
            ("dynamicforward", "1 2"),
            ("dynamicforward", "1:2:3"),
            ("remoteforward", "x"),
            ("remoteforward", "80:a:80"),
            ("remoteforward", "9091 [socks]:0"),
        ] {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            assert_eq!(
                printed(keyword, &arguments),
                None,
                "{keyword} {arguments:?}"
            );
        }
    }
}
