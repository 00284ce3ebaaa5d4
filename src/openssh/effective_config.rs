//! Settings which `ssh` would use for one destination, parsed from the output of
//! `ssh -G DESTINATION`.

use std::time::Duration;

use super::{
    channel_options::ChannelOptions,
    config_dump::ConfigDump,
    forwardings::Forwardings,
    identity_agent::{IdentityAgent, identity_agent},
    ip_qos, option_support,
};
pub use super::{
    config_dump::ConfigError,
    path_list::{split_paths, with_program_data},
};

/// Settings of `ssh -G` on which this crate acts, with types. Each field is named after an option
/// of `ssh_config(5)`; an option which was not printed has the default documented there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a yes/no option of ssh_config(5)"
)]
pub struct EffectiveConfig {
    /// `HostName`: name or address to connect to, in lower case and with `%h` expanded.
    pub host_name: String,
    /// `Port`: remote port, 1 to 65535.
    pub port: u16,
    /// `User`: remote user name.
    pub user: String,
    /// `HostKeyAlias`: name to look up in `known_hosts` instead of the host name. `None` if not
    /// set.
    pub host_key_alias: Option<String>,
    /// `IdentityFile`: private key files in order, with tokens not expanded. Empty after
    /// `IdentityFile none`.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`: true if only the configured keys may be tried, not every key of the agent.
    pub identities_only: bool,
    /// `IdentityAgent`: the agent from which keys are used.
    pub identity_agent: IdentityAgent,
    /// `CertificateFile`: certificates of the user in order, with tokens not expanded.
    pub certificate_files: Vec<String>,
    /// `UserKnownHostsFile` as printed, with `~` and tokens expanded. [`split_paths`] separates the
    /// paths.
    pub user_known_hosts_files: String,
    /// `GlobalKnownHostsFile` as printed. [`with_program_data`] completes the text and
    /// [`split_paths`] separates the paths.
    pub global_known_hosts_files: String,
    /// `StrictHostKeyChecking`: treatment of a host key which is not known yet.
    pub strict_host_key_checking: StrictHostKeyChecking,
    /// `HashKnownHosts`: true if new `known_hosts` lines hide the host name.
    pub hash_known_hosts: bool,
    /// `RevokedHostKeys` as printed, with tokens not expanded. [`split_paths`] separates the paths.
    /// `None` if not set.
    pub revoked_host_keys: Option<String>,
    /// `CheckHostIP`: true if the key must also be the key known for the address.
    pub check_host_ip: bool,
    /// `NoHostAuthenticationForLocalhost`: true if a loopback address may present any key.
    pub no_host_authentication_for_localhost: bool,
    /// `UpdateHostKeys`: true if keys announced by the server are saved. `ask` counts as no, as for
    /// an `ssh` without a terminal.
    pub update_host_keys: bool,
    /// `CASignatureAlgorithms`: algorithms with which an authority may sign host certificates.
    pub ca_signature_algorithms: Vec<String>,
    /// `RequiredRSASize`: minimum length of an RSA key in bits, for hosts and users.
    pub required_rsa_size: u32,
    /// `ConnectTimeout`: time limit of a connection attempt. `None` leaves the limit to the system.
    pub connect_timeout: Option<Duration>,
    /// `ConnectionAttempts`: number of attempts, with a second between two attempts.
    pub connection_attempts: u32,
    /// `ServerAliveInterval`: time without data after which a keepalive is sent. `None` (printed as
    /// 0) sends no keepalives.
    pub server_alive_interval: Option<Duration>,
    /// `ServerAliveCountMax`: number of unanswered keepalives after which the connection counts as
    /// lost.
    pub server_alive_count_max: u32,
    /// `TCPKeepAlive`: true if the system probes an idle TCP connection.
    pub tcp_keep_alive: bool,
    /// `AddressFamily`: addresses of a host which may be dialled.
    pub address_family: AddressFamily,
    /// `BindAddress`: local address to dial from. `None` leaves the choice to the system.
    pub bind_address: Option<String>,
    /// `BindInterface`: network interface whose address to dial from. `None` leaves the choice to
    /// the system.
    pub bind_interface: Option<String>,
    /// `IPQoS` for connections which are not interactive, as a byte of the IP header. `None` leaves
    /// the byte to the system.
    pub ip_qos: Option<u8>,
    /// `RekeyLimit`: number of bytes after which keys are renewed. `None` leaves the number to the
    /// implementation.
    pub rekey_bytes: Option<u64>,
    /// `RekeyLimit`: time after which keys are renewed. `None` leaves the time to the
    /// implementation.
    pub rekey_after: Option<Duration>,
    /// `ProxyJump` as printed: comma-separated hops, each a destination with a separate
    /// configuration. `None` if not set.
    pub proxy_jump: Option<String>,
    /// `ProxyCommand`: shell command which connects to the host, with tokens not expanded. `None`
    /// if not set.
    pub proxy_command: Option<String>,
    /// `ProxyUseFdpass`: true if the `ProxyCommand` passes back a connected socket.
    pub proxy_use_fdpass: bool,
    /// `RefuseConnection`: reason why `ssh` must not connect to this host. `None` if not set.
    pub refuse_connection: Option<String>,
    /// `Ciphers`, best first. All lists of algorithms are empty if `ssh -G` did not print the
    /// option, which leaves the choice to the implementation.
    pub ciphers: Vec<String>,
    /// `KexAlgorithms`, best first.
    pub kex_algorithms: Vec<String>,
    /// `MACs`, best first.
    pub macs: Vec<String>,
    /// `HostKeyAlgorithms`, best first, including certificates.
    pub host_key_algorithms: Vec<String>,
    /// `PubkeyAcceptedAlgorithms`, best first.
    pub pubkey_accepted_algorithms: Vec<String>,
    /// `Compression`: true if the transport is compressed.
    pub compression: bool,
    /// `PreferredAuthentications`: methods in the order to try.
    pub preferred_authentications: Vec<String>,
    /// `PubkeyAuthentication`: true if public keys may be used. `unbound` and `host-bound` count as
    /// yes.
    pub pubkey_authentication: bool,
    /// `PasswordAuthentication`: true if the method `password` may be used.
    pub password_authentication: bool,
    /// `KbdInteractiveAuthentication`: true if the method `keyboard-interactive` may be used.
    pub kbd_interactive_authentication: bool,
    /// `NumberOfPasswordPrompts`: limit for the password questions of a log-in.
    pub number_of_password_prompts: u32,
    /// `BatchMode`: true if the user must not be asked anything.
    pub batch_mode: bool,
    /// `GSSAPIAuthentication`: true if the method `gssapi-with-mic` is wanted.
    pub gssapi_authentication: bool,
    /// `HostbasedAuthentication`: true if the method `hostbased` is wanted.
    pub hostbased_authentication: bool,
    /// `PKCS11Provider`: library which provides keys. `None` if not set.
    pub pkcs11_provider: Option<String>,
    /// `SetEnv`, `SendEnv` and `ForwardAgent`.
    pub channels: ChannelOptions,
    /// `LocalForward`, `RemoteForward`, `DynamicForward` and the options about them.
    pub forwardings: Forwardings,
    /// Notices for the user about options which are not honoured, as whole sentences.
    pub notices: Vec<String>,
}

/// `StrictHostKeyChecking`: treatment of a host key which nobody has accepted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// Refuses unknown and changed keys.
    Yes,
    /// Asks about unknown keys and refuses changed keys.
    Ask,
    /// Accepts and saves unknown keys and refuses changed keys.
    AcceptNew,
    /// `no` or `off`: accepts and saves unknown keys. Connections to changed keys continue with
    /// restrictions.
    No,
}

/// `AddressFamily`: addresses of a name which may be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

impl EffectiveConfig {
    /// Returns `user@host` for questions to the user. As in OpenSSH, the host is named by
    /// `HostKeyAlias` if that is set.
    #[must_use]
    pub fn account(&self) -> String {
        let host = self.host_key_alias.as_ref().unwrap_or(&self.host_name);
        format!("{}@{host}", self.user)
    }

    /// Parses the standard output of `ssh -G`, with a key and a value on each line. Unknown keys
    /// are skipped, so that the output of newer releases is understood.
    ///
    /// # Errors
    /// Returns [`ConfigError`] naming an option which is missing (`hostname`, `user`) or has an
    /// invalid value.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let dump = ConfigDump::read(text);
        // `ssh -G` prints both limits on one line: bytes, then seconds, and 0 for the default.
        let (rekey_bytes, rekey_seconds) = dump.two_numbers("rekeylimit")?;
        Ok(Self {
            host_name: dump.required("hostname")?,
            port: dump.one("port", "a number from 1 to 65535", 22, |v| {
                v.parse().ok().filter(|port| *port != 0)
            })?,
            user: dump.required("user")?,
            host_key_alias: dump.unless_none("hostkeyalias"),
            // An explicit `none` is printed and leaves the list empty; a missing line means the
            // defaults.
            identity_files: dump.paths("identityfile", &DEFAULT_IDENTITY_FILES),
            identities_only: dump.yes_no("identitiesonly", false)?,
            identity_agent: dump
                .first("identityagent")
                .map_or(IdentityAgent::Environment, identity_agent),
            certificate_files: dump.paths("certificatefile", &[]),
            // The paths stay in one text: only the caller can look which of them exist.
            user_known_hosts_files: dump.text(
                "userknownhostsfile",
                "~/.ssh/known_hosts ~/.ssh/known_hosts2",
            ),
            global_known_hosts_files: dump.text(
                "globalknownhostsfile",
                "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
            ),
            strict_host_key_checking: dump.one(
                "stricthostkeychecking",
                "yes, no, ask, accept-new or off",
                StrictHostKeyChecking::Ask,
                strict_host_key_checking,
            )?,
            hash_known_hosts: dump.yes_no("hashknownhosts", false)?,
            revoked_host_keys: dump.unless_none("revokedhostkeys"),
            // The default was yes before OpenSSH 8.5; those releases print the option.
            check_host_ip: dump.yes_no("checkhostip", false)?,
            no_host_authentication_for_localhost: dump
                .yes_no("nohostauthenticationforlocalhost", false)?,
            // `ask` counts as no: nobody is at a terminal when the server announces its keys.
            update_host_keys: matches!(dump.first("updatehostkeys"), Some("yes" | "true")),
            ca_signature_algorithms: dump.list("casignaturealgorithms", DEFAULT_CA_SIGNATURES),
            // Releases before 9.1 do not know the option.
            required_rsa_size: dump.number("requiredrsasize", 1024)?,
            connect_timeout: dump.seconds("connecttimeout")?,
            connection_attempts: dump.number("connectionattempts", 1)?,
            server_alive_interval: dump.seconds("serveraliveinterval")?,
            server_alive_count_max: dump.number("serveralivecountmax", 3)?,
            tcp_keep_alive: dump.yes_no("tcpkeepalive", true)?,
            address_family: dump.one(
                "addressfamily",
                "any, inet or inet6",
                AddressFamily::Any,
                address_family,
            )?,
            bind_address: dump.unless_none("bindaddress"),
            bind_interface: dump.unless_none("bindinterface"),
            ip_qos: dump.one(
                "ipqos",
                "the names or numbers of service classes",
                None,
                ip_qos::bulk,
            )?,
            // Both zeros stand for the default of the implementation.
            rekey_bytes: (rekey_bytes > 0).then_some(rekey_bytes),
            rekey_after: (rekey_seconds > 0).then(|| Duration::from_secs(rekey_seconds)),
            proxy_jump: dump.unless_none("proxyjump"),
            proxy_command: dump.unless_none("proxycommand"),
            proxy_use_fdpass: dump.yes_no("proxyusefdpass", false)?,
            refuse_connection: dump.unless_none("refuseconnection"),
            // An empty list leaves the choice to the SSH library, which knows what it implements.
            ciphers: dump.list("ciphers", ""),
            kex_algorithms: dump.list("kexalgorithms", ""),
            macs: dump.list("macs", ""),
            host_key_algorithms: dump.list("hostkeyalgorithms", ""),
            pubkey_accepted_algorithms: dump.list("pubkeyacceptedalgorithms", ""),
            compression: dump.yes_no("compression", false)?,
            preferred_authentications: dump
                .list("preferredauthentications", DEFAULT_AUTHENTICATIONS),
            pubkey_authentication: dump.yes_no("pubkeyauthentication", true)?,
            password_authentication: dump.yes_no("passwordauthentication", true)?,
            kbd_interactive_authentication: dump.yes_no("kbdinteractiveauthentication", true)?,
            number_of_password_prompts: dump.number("numberofpasswordprompts", 3)?,
            batch_mode: dump.yes_no("batchmode", false)?,
            gssapi_authentication: dump.yes_no("gssapiauthentication", false)?,
            hostbased_authentication: dump.yes_no("hostbasedauthentication", false)?,
            pkcs11_provider: dump.unless_none("pkcs11provider"),
            channels: ChannelOptions::read(&dump),
            forwardings: Forwardings::read(&dump, &|path| Ok(path.to_owned())),
            // Options without effect are named once for the user instead of being ignored in
            // silence.
            notices: option_support::notice(&dump).into_iter().collect(),
        })
    }
}

/// Default of `IdentityFile`.
const DEFAULT_IDENTITY_FILES: [&str; 5] = [
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
];

/// Default of `CASignatureAlgorithms`.
const DEFAULT_CA_SIGNATURES: &str = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,\
    sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

/// Default of `PreferredAuthentications`.
const DEFAULT_AUTHENTICATIONS: &str =
    "gssapi-with-mic,hostbased,publickey,keyboard-interactive,password";

/// Parses `StrictHostKeyChecking`, for which `ssh -G` prints `true` and `false` instead of `yes`
/// and `no`.
fn strict_host_key_checking(value: &str) -> Option<StrictHostKeyChecking> {
    Some(match value {
        "yes" | "true" => StrictHostKeyChecking::Yes,
        "ask" => StrictHostKeyChecking::Ask,
        "accept-new" => StrictHostKeyChecking::AcceptNew,
        "no" | "false" | "off" => StrictHostKeyChecking::No,
        _ => return None,
    })
}

/// Parses `AddressFamily`.
fn address_family(value: &str) -> Option<AddressFamily> {
    Some(match value {
        "any" => AddressFamily::Any,
        "inet" => AddressFamily::Inet,
        "inet6" => AddressFamily::Inet6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> EffectiveConfig {
        EffectiveConfig::parse(&format!("host h\nuser bob\nhostname h.example\n{lines}")).unwrap()
    }

    #[test]
    fn options_that_are_not_printed_have_the_documented_defaults() {
        let config = parse("");
        assert_eq!(
            (config.host_name.as_str(), config.user.as_str(), config.port),
            ("h.example", "bob", 22)
        );

        assert_eq!(config.identity_files.first().unwrap(), "~/.ssh/id_rsa");
        assert_eq!(config.identity_agent, IdentityAgent::Environment);
        assert_eq!(
            config.user_known_hosts_files,
            "~/.ssh/known_hosts ~/.ssh/known_hosts2"
        );

        assert_eq!(config.strict_host_key_checking, StrictHostKeyChecking::Ask);
        assert_eq!(
            (config.connect_timeout, config.server_alive_interval),
            (None, None)
        );

        assert_eq!(
            (config.connection_attempts, config.server_alive_count_max),
            (1, 3)
        );

        assert_eq!(config.preferred_authentications.len(), 5);
        assert!(
            config.tcp_keep_alive && config.password_authentication && config.pubkey_authentication
        );

        assert!(
            !config.compression
                && !config.hash_known_hosts
                && !config.identities_only
                && !config.update_host_keys
        );

        assert_eq!(
            (
                config.ca_signature_algorithms.len(),
                config.required_rsa_size
            ),
            (8, 1024)
        );

        assert_eq!(
            (config.proxy_jump, config.proxy_command, config.ciphers),
            (None, None, vec![])
        );

        assert!(
            !config.batch_mode && !config.gssapi_authentication && !config.hostbased_authentication
        );

        assert_eq!(config.pkcs11_provider, None);
    }

    #[test]
    fn printed_options_are_typed() {
        let config = parse(
            "port 2222\r\nHostKeyAlias al\nidentityfile ~/my key\nidentityfile /k2\nidentitiesonly yes\n\
             certificatefile ~/c-cert.pub\nhashknownhosts true\nrevokedhostkeys /etc/r\nconnecttimeout 7\n\
             connectionattempts 2\nserveraliveinterval 5\nserveralivecountmax 9\ntcpkeepalive no\n\
             bindaddress 10.0.0.1\nproxyjump u@[::1]:22,h2\nciphers a,b@c\npreferredauthentications publickey\n\
             compression yes\npubkeyauthentication unbound\npasswordauthentication no\n\
             kbdinteractiveauthentication false\nnumberofpasswordprompts 1\nbatchmode yes\n\
             gssapiauthentication yes\nhostbasedauthentication yes\npkcs11provider /lib/p.so\nsomethingnew x\nnovalue\n",
        );

        assert_eq!(
            (config.port, config.host_key_alias.as_deref()),
            (2222, Some("al"))
        );

        assert_eq!(config.identity_files, ["~/my key", "/k2"]);
        assert_eq!(config.certificate_files, ["~/c-cert.pub"]);
        assert_eq!(config.revoked_host_keys.as_deref(), Some("/etc/r"));
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(config.server_alive_interval, Some(Duration::from_secs(5)));
        assert_eq!(
            (config.connection_attempts, config.server_alive_count_max),
            (2, 9)
        );

        assert_eq!(config.bind_address.as_deref(), Some("10.0.0.1"));
        assert_eq!(config.proxy_jump.as_deref(), Some("u@[::1]:22,h2"));
        assert_eq!(
            (config.ciphers, config.preferred_authentications),
            (vec!["a".into(), "b@c".into()], vec!["publickey".into()])
        );

        assert!(
            config.identities_only
                && config.hash_known_hosts
                && config.compression
                && config.pubkey_authentication
        );

        assert!(
            !config.tcp_keep_alive
                && !config.password_authentication
                && !config.kbd_interactive_authentication
        );

        assert_eq!(
            (
                config.number_of_password_prompts,
                config.pkcs11_provider.as_deref()
            ),
            (1, Some("/lib/p.so"))
        );

        assert!(
            config.batch_mode && config.gssapi_authentication && config.hostbased_authentication
        );
    }

    #[test]
    fn every_spelling_ssh_prints_is_understood() {
        use StrictHostKeyChecking::{AcceptNew, Ask, No, Yes};

        for (value, expected) in [
            ("yes", Yes),
            ("true", Yes),
            ("ask", Ask),
            ("accept-new", AcceptNew),
            ("no", No),
            ("false", No),
            ("off", No),
        ] {
            assert_eq!(
                parse(&format!("stricthostkeychecking {value}")).strict_host_key_checking,
                expected,
                "{value}"
            );
        }

        for (value, expected) in [
            ("true", true),
            ("yes", true),
            ("ask", false),
            ("false", false),
        ] {
            assert_eq!(
                parse(&format!("updatehostkeys {value}")).update_host_keys,
                expected,
                "{value}"
            );
        }

        for (value, expected) in [
            ("SSH_AUTH_SOCK", IdentityAgent::Environment),
            ("none", IdentityAgent::None),
            ("$MY_AGENT", IdentityAgent::Variable("MY_AGENT".into())),
            ("/run/a b", IdentityAgent::Path("/run/a b".into())),
        ] {
            assert_eq!(
                parse(&format!("identityagent {value}")).identity_agent,
                expected,
                "{value}"
            );
        }

        assert_eq!(
            parse("addressfamily inet6").address_family,
            AddressFamily::Inet6
        );

        let none = parse(
            "proxycommand none\nidentityfile none\nconnecttimeout none\nserveraliveinterval 0",
        );

        assert_eq!(
            (
                none.proxy_command,
                none.connect_timeout,
                none.server_alive_interval
            ),
            (None, None, None)
        );

        assert!(none.identity_files.is_empty());
    }

    #[test]
    fn a_broken_value_is_an_error_that_names_the_key() {
        for line in [
            "port 70000",
            "port 0",
            "compression maybe",
            "addressfamily ipx",
            "connecttimeout -1",
            "stricthostkeychecking x",
        ] {
            let error = EffectiveConfig::parse(&format!("hostname h\nuser u\n{line}"))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("it says `{line}`, but ")),
                "{error}"
            );
        }

        assert_eq!(
            EffectiveConfig::parse("user u\nhostname \n"),
            Err(ConfigError::Missing { key: "hostname" })
        );

        assert_eq!(
            EffectiveConfig::parse("hostname h\n"),
            Err(ConfigError::Missing { key: "user" })
        );
    }
}
