//! Forwards that a configuration asks for: `LocalForward`, `RemoteForward`, `DynamicForward` and the
//! options about them.

pub(super) mod arguments;

use super::{config_dump::ConfigDump, tokens::TokenError};
use crate::{
    foreign_text::escape_line,
    forward::{
        address::{AddressError, ConnectAddress, is_loopback, parse_port},
        listen::{ListenAddress, ListenAddressError},
        state::ForwardDirection,
    },
};

/// Options that ask for a forward, in the order in which `ssh -G` prints them.
const OPTIONS: [(&str, &str); 3] = [
    ("dynamicforward", "DynamicForward"),
    ("localforward", "LocalForward"),
    ("remoteforward", "RemoteForward"),
];

/// Function that replaces the tokens in a path.
pub type ExpandPath<'a> = dyn Fn(&str) -> Result<String, TokenError> + 'a;

/// Forwards which `ssh` would open after the log-in, and the options about them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwardings {
    /// Forwards without repetitions. Empty after `ClearAllForwardings yes`.
    pub forwards: Vec<Forwarding>,
    /// `ExitOnForwardFailure`: true if a forward that cannot be opened ends the connection.
    pub exit_on_failure: bool,
    /// `StreamLocalBindUnlink`: true if a socket file at which nobody listens is replaced.
    pub unlink: bool,
}

/// Line that asks for a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// Option and listening address for messages, as in `LocalForward 8080`.
    pub option: String,
    /// Addresses of the forward, or the reason why the line cannot be used.
    pub addresses: Result<ForwardAddresses, ForwardingError>,
}

/// Addresses of a forward of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAddresses {
    /// Side that listens.
    pub direction: ForwardDirection,
    /// Address to listen at. `None` leaves the port to the host (`RemoteForward 0`).
    pub listen: Option<ListenAddress>,
    /// Address to which connections lead.
    pub to: ConnectAddress,
    /// True if `ssh` would listen at another address than 127.0.0.1 and `::1`.
    pub beyond_loopback: bool,
}

/// Reason why a line asks for no possible forward.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardingError {
    /// `ssh` refuses the value.
    #[error("the value has none of the forms of ssh_config(5)")]
    Form,
    /// A socket path is relative. The working directory of this program means nothing to the
    /// person.
    #[error("{0:?} is not an absolute path; write `%d` for the home directory")]
    RelativePath(String),
    /// A token or variable in a path has no value.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The path of the socket cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenAddressError),
    /// The address to connect to cannot be used.
    #[error(transparent)]
    To(#[from] AddressError),
    /// `PermitRemoteOpen` limits a SOCKS proxy for the host, which is not supported.
    #[error("a limit by `PermitRemoteOpen` is not supported")]
    PermitRemoteOpen,
}

impl Forwardings {
    /// Parses the output of `ssh -G`. `expand` replaces the tokens in a path, which `ssh -G` has
    /// done already.
    #[must_use]
    pub fn parse(text: &str, expand: &ExpandPath<'_>) -> Self {
        Self::read(&ConfigDump::read(text), expand)
    }

    /// Reads the forwards of a parsed output.
    pub(super) fn read(dump: &ConfigDump<'_>, expand: &ExpandPath<'_>) -> Self {
        let is_set = |key| matches!(dump.first(key), Some("yes" | "true"));
        if is_set("clearallforwardings") {
            return Self::default();
        }

        let reader = ForwardingReader {
            gateway_ports: is_set("gatewayports"),
            permits_any: dump.first("permitremoteopen").is_none_or(|to| to == "any"),
            expand,
        };
        let mut forwards: Vec<Forwarding> = Vec::new();

        for (keyword, name) in OPTIONS {
            let values = dump.lines().filter(|(key, _)| *key == keyword);
            for (_, value) in values.filter(|line| !is_echo(dump, *line)) {
                let (listen, to) = split(keyword, value);
                // `ssh -G` prints a path without its tokens.
                let path = Some(listen).filter(|path| path.contains('/') && !path.starts_with('~'));
                let shown = path.and_then(|path| expand(path).ok());

                let forwarding = Forwarding {
                    option: format!("{name} {}", escape_line(shown.as_deref().unwrap_or(listen))),
                    addresses: reader.addresses(keyword, listen, to),
                };

                if !forwards.contains(&forwarding) {
                    forwards.push(forwarding);
                }
            }
        }

        Self {
            forwards,
            exit_on_failure: is_set("exitonforwardfailure"),
            unlink: is_set("streamlocalbindunlink"),
        }
    }

    /// Returns notices about the lines that ask for no possible forward, and about addresses other
    /// than loopback.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let unusable = self.forwards.iter().filter_map(|forward| {
            let error = forward.addresses.as_ref().err()?;
            Some(format!("{}: {error}", forward.option))
        });

        unusable.chain(self.loopback_notice()).collect()
    }

    /// Returns the notice that names the forwards which `ssh` would open to other machines. `None`
    /// if there are none.
    #[must_use]
    pub fn loopback_notice(&self) -> Option<String> {
        let beyond = self.forwards.iter().filter(
            |forward| matches!(&forward.addresses, Ok(addresses) if addresses.beyond_loopback),
        );
        let beyond: Vec<&str> = beyond.map(|forward| forward.option.as_str()).collect();

        (!beyond.is_empty()).then(|| {
            let names = beyond.join(", ");
            format!("a forward listens on loopback only, whatever address is configured: {names}")
        })
    }
}

/// Returns true for a `dynamicforward` line that repeats a `localforward` line: `ssh -G` prints a
/// forward to a socket under both names.
pub(super) fn is_echo(dump: &ConfigDump<'_>, (keyword, value): (&str, &str)) -> bool {
    keyword == "dynamicforward"
        && dump
            .lines()
            .filter(|(keyword, _)| *keyword == "localforward")
            .map(|(keyword, value)| split(keyword, value))
            .any(|(listen, to)| listen == value && !to.starts_with('['))
}

/// Splits a printed value into the listening address and the other address. The other one is empty
/// if missing, as always for `DynamicForward`. Paths are printed without quotes.
fn split<'a>(keyword: &str, value: &'a str) -> (&'a str, &'a str) {
    let ends_in_port = value
        .trim_end_matches(|digit: char| digit.is_ascii_digit())
        .ends_with("]:");

    let blank = match keyword {
        "dynamicforward" => None,
        _ if value.starts_with('"') => None,
        _ if ends_in_port => value.rfind(" ["),
        _ => value.rfind(" /").or_else(|| value.find(' ')),
    };

    blank.map_or((value, ""), |at| {
        let (listen, to) = value.split_at(at);
        (listen, to.trim_start())
    })
}

/// Reader of the addresses of a line, with the options that matter for all lines.
struct ForwardingReader<'a> {
    gateway_ports: bool,
    /// False if `PermitRemoteOpen` has a limit.
    permits_any: bool,
    expand: &'a ExpandPath<'a>,
}

impl ForwardingReader<'_> {
    /// Parses the two addresses of a line.
    fn addresses(
        &self,
        keyword: &str,
        listen: &str,
        to: &str,
    ) -> Result<ForwardAddresses, ForwardingError> {
        let direction = match keyword {
            "remoteforward" => ForwardDirection::Remote,
            _ => ForwardDirection::Local,
        };
        let is_remote = direction == ForwardDirection::Remote;

        let (bind, port) = match bracketed(listen) {
            Some((host, port)) => (Some(host), port),
            None => (None, listen),
        };

        let listen = match port {
            "0" if is_remote => None,
            _ if bind.is_none() && listen.contains('/') => {
                Some(ListenAddress::parse(&self.path(listen)?)?)
            }
            _ => {
                let port = parse_port(port).map_err(|_| ForwardingError::Form)?;
                Some(ListenAddress::Port(port))
            }
        };

        let to = match (keyword, bracketed(to)) {
            ("dynamicforward", _) | ("remoteforward", Some(("socks", "0"))) => {
                ConnectAddress::Socks
            }
            (_, Some((host, port))) if host.contains(':') => {
                ConnectAddress::parse(&format!("[{host}]:{port}"))?
            }
            (_, Some((host, port))) => ConnectAddress::parse(&format!("{host}:{port}"))?,
            (_, None) if to.contains('/') => ConnectAddress::parse(&self.path(to)?)?,
            (_, None) => return Err(ForwardingError::Form),
        };

        if is_remote && to == ConnectAddress::Socks && !self.permits_any {
            return Err(ForwardingError::PermitRemoteOpen);
        }

        // `GatewayPorts` of the client is about its own ports, if they have no address.
        let is_port = !matches!(listen, Some(ListenAddress::Socket(_)));
        let opens_gateway = self.gateway_ports && !is_remote && is_port;
        Ok(ForwardAddresses {
            direction,
            listen,
            to,
            beyond_loopback: bind.map_or(opens_gateway, |host| !is_loopback(host)),
        })
    }

    /// Returns the absolute path which a configured path stands for.
    fn path(&self, path: &str) -> Result<String, ForwardingError> {
        // `ssh` takes `~` for the name of a file here.
        let expanded = if path.starts_with('~') {
            path.to_owned()
        } else {
            (self.expand)(path)?
        };

        if expanded.starts_with('/') {
            Ok(expanded)
        } else {
            Err(ForwardingError::RelativePath(expanded))
        }
    }
}

/// Splits `[host]:port`.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('[')?.rsplit_once("]:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Forwardings {
        Forwardings::parse(text, &|path| Ok(path.to_owned()))
    }

    /// Returns the only forward as a line, or the reason why there is none.
    fn shown(text: &str) -> String {
        let forwards = parse(text).forwards;
        assert_eq!(forwards.len(), 1, "{text}");
        match &forwards[0].addresses {
            Ok(ForwardAddresses {
                direction,
                listen,
                to,
                beyond_loopback,
            }) => {
                let listen = listen
                    .as_ref()
                    .map_or("any".to_owned(), ToString::to_string);
                let beyond = if *beyond_loopback { " beyond" } else { "" };
                format!("{direction:?} {listen} -> {to}{beyond}")
            }
            Err(error) => format!("{}: {error}", forwards[0].option),
        }
    }

    #[test]
    fn each_printed_form_is_understood() {
        for (line, expected) in [
            (
                "localforward 8080 [db]:5432",
                "Local 127.0.0.1:8080 -> db:5432",
            ),
            (
                "localforward [127.0.0.1]:81 [::1]:80",
                "Local 127.0.0.1:81 -> [::1]:80",
            ),
            (
                "localforward [LocalHost]:81 [h]:8",
                "Local 127.0.0.1:81 -> h:8",
            ),
            (
                "localforward [::1]:82 [fe80::1%eth0]:80",
                "Local 127.0.0.1:82 -> [fe80::1%eth0]:80",
            ),
            (
                "localforward [*]:83 [db]:1",
                "Local 127.0.0.1:83 -> db:1 beyond",
            ),
            (
                "localforward []:84 [db]:1",
                "Local 127.0.0.1:84 -> db:1 beyond",
            ),
            (
                "localforward [127.0.0.2]:84 [db]:1",
                "Local 127.0.0.1:84 -> db:1 beyond",
            ),
            (
                "localforward /tmp/a b /run/x y",
                "Local /tmp/a b -> /run/x y",
            ),
            ("localforward /tmp/a b [db]:1", "Local /tmp/a b -> db:1"),
            ("localforward 86 /run/x", "Local 127.0.0.1:86 -> /run/x"),
            (
                "dynamicforward 87\nlocalforward 87 /run/x",
                "Local 127.0.0.1:87 -> /run/x",
            ),
            ("dynamicforward /a\nlocalforward /a /b", "Local /a -> /b"),
            (
                "localforward 1 [a]:1\nlocalforward 1 [a]:1",
                "Local 127.0.0.1:1 -> a:1",
            ),
            ("dynamicforward 1080", "Local 127.0.0.1:1080 -> socks"),
            (
                "dynamicforward [::]:1083",
                "Local 127.0.0.1:1083 -> socks beyond",
            ),
            ("dynamicforward /tmp/d d", "Local /tmp/d d -> socks"),
            (
                "remoteforward 9090 [localhost]:1",
                "Remote 127.0.0.1:9090 -> localhost:1",
            ),
            (
                "remoteforward 9091 [socks]:0",
                "Remote 127.0.0.1:9091 -> socks",
            ),
            ("remoteforward 0 [socks]:0", "Remote any -> socks"),
            ("remoteforward [localhost]:0 [h]:1", "Remote any -> h:1"),
            (
                "remoteforward [*]:93 [h]:1",
                "Remote 127.0.0.1:93 -> h:1 beyond",
            ),
            ("remoteforward /x /y", "Remote /x -> /y"),
            ("remoteforward /x [socks]:0", "Remote /x -> socks"),
            (
                "gatewayports yes\nlocalforward 1 [a]:1",
                "Local 127.0.0.1:1 -> a:1 beyond",
            ),
            (
                "gatewayports yes\nlocalforward [::1]:1 [a]:1",
                "Local 127.0.0.1:1 -> a:1",
            ),
            (
                "gatewayports yes\ndynamicforward 1",
                "Local 127.0.0.1:1 -> socks beyond",
            ),
            ("gatewayports yes\ndynamicforward /a", "Local /a -> socks"),
            (
                "gatewayports yes\nremoteforward 1 [a]:1",
                "Remote 127.0.0.1:1 -> a:1",
            ),
            (
                "permitremoteopen any\nremoteforward 1 [socks]:0",
                "Remote 127.0.0.1:1 -> socks",
            ),
            (
                "permitremoteopen a:1\nremoteforward 1 [a]:2",
                "Remote 127.0.0.1:1 -> a:2",
            ),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_without_use_says_why() {
        for (line, expected) in [
            (
                "localforward ./a [b]:1",
                "LocalForward ./a: \"./a\" is not an absolute path; write `%d` for the home directory",
            ),
            (
                "localforward ~/x [b]:1",
                "LocalForward ~/x: \"~/x\" is not an absolute path; write `%d` for the home directory",
            ),
            (
                "localforward 80 db/1",
                "LocalForward 80: \"db/1\" is not an absolute path; write `%d` for the home directory",
            ),
            (
                "localforward 80 []:80",
                "LocalForward 80: \"\" is not a host name or an IP address",
            ),
            (
                "localforward 80 [%h]:80",
                "LocalForward 80: \"%h\" is not a host name or an IP address",
            ),
            (
                "localforward 80",
                "LocalForward 80: the value has none of the forms of ssh_config(5)",
            ),
            (
                "localforward \"70000 db:1\"",
                "LocalForward \"70000 db:1\": the value has none of the forms of ssh_config(5)",
            ),
            (
                "dynamicforward none",
                "DynamicForward none: the value has none of the forms of ssh_config(5)",
            ),
            (
                "dynamicforward /a\u{1b}/",
                "DynamicForward /a\\u{1b}/: \"/a\\u{1b}/\" is not the path of a socket",
            ),
            (
                "permitremoteopen none\nremoteforward 1 [socks]:0",
                "RemoteForward 1: a limit by `PermitRemoteOpen` is not supported",
            ),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn the_options_about_all_forwards_are_read() {
        assert_eq!(parse(""), Forwardings::default());
        assert_eq!(
            parse("clearallforwardings yes\nlocalforward 1 [a]:1"),
            Forwardings::default()
        );

        let forwardings = parse(
            "exitonforwardfailure yes\nstreamlocalbindunlink yes\nremoteforward 1 [a]:1\n\
             dynamicforward [*]:2\nlocalforward 3 [%h]:1\ndynamicforward 4\nremoteforward [*]:5 [a]:1",
        );
        assert!(forwardings.exit_on_failure && forwardings.unlink);

        let options: Vec<&str> = forwardings
            .forwards
            .iter()
            .map(|forward| forward.option.as_str())
            .collect();
        assert_eq!(
            options,
            [
                "DynamicForward [*]:2",
                "DynamicForward 4",
                "LocalForward 3",
                "RemoteForward 1",
                "RemoteForward [*]:5"
            ]
        );
        assert_eq!(
            forwardings.notices(),
            [
                "LocalForward 3: \"%h\" is not a host name or an IP address",
                "a forward listens on loopback only, whatever address is configured: \
                 DynamicForward [*]:2, RemoteForward [*]:5"
            ]
        );
    }

    #[test]
    fn tokens_are_expanded_in_paths_only() {
        let expand = |path: &str| match path {
            "%d/s" => Ok("/home/s".to_owned()),
            _ => Err(TokenError::Unknown('Z')),
        };
        let text = "localforward %d/s [%d]:1\nlocalforward 1 %d/s\nlocalforward 2 /%Z";
        let shown: Vec<String> = Forwardings::parse(text, &expand)
            .forwards
            .iter()
            .map(|forward| match &forward.addresses {
                Ok(addresses) => addresses.to.to_string(),
                Err(error) => error.to_string(),
            })
            .collect();

        assert_eq!(
            shown,
            [
                "\"%d\" is not a host name or an IP address",
                "/home/s",
                "unknown token `%Z`"
            ]
        );
    }
}
