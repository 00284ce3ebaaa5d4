//! Support for each option of `ssh_config(5)`, so that no option is ignored in silence.

use super::{config_dump::ConfigDump, forwardings::is_echo};

/// Support for an option of `ssh_config(5)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The option takes effect, either here or inside `ssh -G`.
    Honoured,
    /// The option asks for nothing in this program. It is about terminals, about details of
    /// features that other options request, about the log of `ssh`, or about a log-in method that
    /// was not needed in the end.
    NotNeeded,
    /// The option has no effect here. The listed values ask for nothing and cause no notice: they
    /// are the defaults of all releases, as printed by `ssh -G`.
    Ignored(&'static [&'static str]),
}

use Treatment::{Honoured, Ignored, NotNeeded};

/// Support for an option which may only be switched off.
const OFF: Treatment = Ignored(&["no", "false", "none"]);
/// Support for an option which may only be unset.
const UNSET: Treatment = Ignored(&["none"]);

/// Options by their names in `ssh_config(5)`, up to OpenSSH 10.
const OPTIONS: [(&str, Treatment); 111] = [
    // A passphrase which was entered here stays in this process.
    ("AddKeysToAgent", NotNeeded),
    ("AddressFamily", Honoured),
    ("BatchMode", Honoured),
    ("BindAddress", Honoured),
    ("BindInterface", Honoured),
    ("CanonicalDomains", Honoured),
    ("CanonicalizeFallbackLocal", Honoured),
    ("CanonicalizeHostname", Honoured),
    ("CanonicalizeMaxDots", Honoured),
    ("CanonicalizePermittedCNAMEs", Honoured),
    ("CASignatureAlgorithms", Honoured),
    ("CertificateFile", Honoured),
    ("ChannelTimeout", UNSET),
    ("CheckHostIP", Honoured),
    ("Ciphers", Honoured),
    ("ClearAllForwardings", Honoured),
    ("Compression", Honoured),
    ("ConnectionAttempts", Honoured),
    ("ConnectTimeout", Honoured),
    ("ControlMaster", NotNeeded),
    ("ControlPath", NotNeeded),
    ("ControlPersist", NotNeeded),
    ("DynamicForward", Honoured),
    ("EnableEscapeCommandline", NotNeeded),
    ("EnableSSHKeysign", NotNeeded),
    ("EscapeChar", NotNeeded),
    ("ExitOnForwardFailure", Honoured),
    ("FingerprintHash", NotNeeded),
    ("ForkAfterAuthentication", NotNeeded),
    ("ForwardAgent", Honoured),
    ("ForwardX11", OFF),
    ("ForwardX11Timeout", NotNeeded),
    ("ForwardX11Trusted", NotNeeded),
    // A forward with this option has a notice of its own.
    ("GatewayPorts", NotNeeded),
    ("GlobalKnownHostsFile", Honoured),
    // Distributions switch this on in the configuration they ship. Whoever needs the method learns
    // so from the failed log-in.
    ("GSSAPIAuthentication", NotNeeded),
    ("GSSAPIClientIdentity", UNSET),
    ("GSSAPIDelegateCredentials", OFF),
    ("GSSAPIKexAlgorithms", NotNeeded),
    ("GSSAPIKeyExchange", OFF),
    ("GSSAPIRenewalForcesRekey", OFF),
    ("GSSAPIServerIdentity", UNSET),
    ("GSSAPITrustDns", OFF),
    ("HashKnownHosts", Honoured),
    ("Host", Honoured),
    ("HostbasedAcceptedAlgorithms", NotNeeded),
    ("HostbasedAuthentication", OFF),
    ("HostKeyAlgorithms", Honoured),
    ("HostKeyAlias", Honoured),
    ("HostName", Honoured),
    ("IdentitiesOnly", Honoured),
    ("IdentityAgent", Honoured),
    ("IdentityFile", Honoured),
    ("IgnoreUnknown", Honoured),
    ("Include", Honoured),
    ("IPQoS", Honoured),
    ("KbdInteractiveAuthentication", Honoured),
    ("KbdInteractiveDevices", UNSET),
    ("KexAlgorithms", Honoured),
    ("KnownHostsCommand", UNSET),
    ("LocalCommand", UNSET),
    ("LocalForward", Honoured),
    ("LogLevel", NotNeeded),
    ("LogVerbose", NotNeeded),
    ("MACs", Honoured),
    ("Match", Honoured),
    ("NoHostAuthenticationForLocalhost", Honoured),
    ("NumberOfPasswordPrompts", Honoured),
    ("ObscureKeystrokeTiming", NotNeeded),
    ("PasswordAuthentication", Honoured),
    ("PermitLocalCommand", NotNeeded),
    ("PermitRemoteOpen", Honoured),
    ("PKCS11Provider", UNSET),
    ("Port", Honoured),
    ("PreferredAuthentications", Honoured),
    ("ProxyCommand", Honoured),
    ("ProxyJump", Honoured),
    ("ProxyUseFdpass", Honoured),
    ("PubkeyAcceptedAlgorithms", Honoured),
    ("PubkeyAuthentication", Honoured),
    ("RefuseConnection", Honoured),
    ("RekeyLimit", Honoured),
    ("RemoteCommand", UNSET),
    ("RemoteForward", Honoured),
    ("RequestTTY", Ignored(&["auto", "no", "false"])),
    ("RequiredRSASize", Honoured),
    ("RevokedHostKeys", Honoured),
    (
        "SecurityKeyProvider",
        Ignored(&["internal", "$SSH_SK_PROVIDER", "none"]),
    ),
    ("SendEnv", Honoured),
    ("ServerAliveCountMax", Honoured),
    ("ServerAliveInterval", Honoured),
    ("SessionType", Ignored(&["default"])),
    ("SetEnv", Honoured),
    ("StdinNull", NotNeeded),
    // Sockets always have mode 0600.
    ("StreamLocalBindMask", NotNeeded),
    ("StreamLocalBindUnlink", Honoured),
    ("StrictHostKeyChecking", Honoured),
    ("SyslogFacility", NotNeeded),
    ("Tag", Honoured),
    ("TCPKeepAlive", Honoured),
    ("Tunnel", OFF),
    ("TunnelDevice", NotNeeded),
    // `ask` counts as no.
    ("UpdateHostKeys", Ignored(&["yes", "true", "no", "false"])),
    ("User", Honoured),
    ("UserKnownHostsFile", Honoured),
    ("VerifyHostKeyDNS", OFF),
    ("VersionAddendum", UNSET),
    ("VisualHostKey", NotNeeded),
    ("WarnWeakCrypto", NotNeeded),
    ("XAuthLocation", NotNeeded),
    // An option of macOS: the system's keychain holds the passphrases of keys.
    ("UseKeychain", NotNeeded),
];

/// Returns the support for an option, with case ignored. `None` if `ssh_config(5)` has no such
/// option.
#[must_use]
pub fn treatment(keyword: &str) -> Option<Treatment> {
    find(keyword).map(|(_, treatment)| treatment)
}

/// Returns true if the value is the rest of the line, without parsing of quotes: the option takes a
/// command, or was never quoted.
pub(super) fn value_is_the_rest(keyword: &str) -> bool {
    [
        "proxycommand",
        "proxyjump",
        "localcommand",
        "remotecommand",
        "knownhostscommand",
    ]
    .contains(&keyword)
}

/// Returns a notice which names all options without effect. `None` if there are no such options.
pub(super) fn notice(dump: &ConfigDump<'_>) -> Option<String> {
    let names: Vec<&str> = dump
        .lines()
        .filter_map(|(keyword, value)| ignored(keyword, value, dump))
        .collect();

    (!names.is_empty()).then(|| {
        format!(
            "options of the SSH configuration that are not supported and have no effect: {}",
            names.join(", ")
        )
    })
}

/// Returns the options which a configuration sets and which take effect, each as a line of
/// `ssh_config(5)`. `printed` is the output of `ssh -G` with the configuration, and `plain` the
/// output without.
#[must_use]
pub fn set(dump: &str, plain: &str) -> Vec<String> {
    // `ssh -G` prints defaults too. A line that is also printed without the configuration is one.
    let (dump, plain) = (ConfigDump::read(dump), ConfigDump::read(plain));
    let without: Vec<_> = plain.lines().collect();
    let set = dump
        .lines()
        .filter(|line| !line.1.is_empty() && !without.contains(line) && !is_echo(&dump, *line));

    set.filter_map(|(keyword, value)| match find(keyword)? {
        (name, Honoured) => Some(format!("{name} {value}")),
        _ => None,
    })
    .collect()
}

/// Returns the name and support of an option.
fn find(keyword: &str) -> Option<(&'static str, Treatment)> {
    OPTIONS
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(keyword))
}

/// Returns the name of an option whose value asks for something unsupported. `None` if the option
/// takes effect or asks for nothing.
fn ignored(keyword: &str, value: &str, dump: &ConfigDump<'_>) -> Option<&'static str> {
    let (name, Ignored(harmless)) = find(keyword)? else {
        return None;
    };
    let effective = name != "LocalCommand" || dump.first("permitlocalcommand") == Some("yes");
    (effective && !value.is_empty() && !harmless.contains(&value)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> String {
        let notice = notice(&ConfigDump::read(text)).unwrap_or_default();
        notice
            .split_once("effect: ")
            .map(|(_, names)| names.to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn what_is_configured_and_not_supported_is_named_once() {
        for (dump, expected) in [
            (
                "localforward 1 [h]:2\nchanneltimeout a=1\nforwardx11 yes\n",
                "ChannelTimeout, ForwardX11",
            ),
            (
                "forwardx11 no\ntunnel false\nverifyhostkeydns false\nrequesttty auto\nsessiontype default",
                "",
            ),
            (
                "tunnel point-to-point\nverifyhostkeydns ask\nrequesttty force",
                "Tunnel, VerifyHostKeyDNS, RequestTTY",
            ),
            ("localcommand x\npermitlocalcommand no", ""),
            ("localcommand x\npermitlocalcommand yes", "LocalCommand"),
            ("checkhostip yes", ""),
            (
                "updatehostkeys ask\nsecuritykeyprovider internal",
                "UpdateHostKeys",
            ),
            (
                "gssapiauthentication yes\ncontrolmaster auto\ncontrolpath /c\nproxyjump h\nunheardof 1",
                "",
            ),
        ] {
            assert_eq!(named(dump), expected, "{dump}");
        }
    }

    #[test]
    fn what_a_configuration_sets_is_what_is_not_said_without_it() {
        let plain = "hostname h\nport 22\nidentityfile ~/.ssh/id_rsa\nloglevel DEBUG";
        let dump = "hostname 10.0.0.5\nport 22\nidentityfile ~/k\nloglevel QUIET\ndynamicforward 1\n\
                       localforward 1 /h\nbogus 1\nproxyjump near";
        assert_eq!(
            set(dump, plain),
            [
                "HostName 10.0.0.5",
                "IdentityFile ~/k",
                "LocalForward 1 /h",
                "ProxyJump near"
            ]
        );
    }

    #[test]
    fn each_option_is_in_the_table_once_and_found_in_any_case() {
        for (index, (name, _)) in OPTIONS.iter().enumerate() {
            let first = OPTIONS
                .iter()
                .position(|(other, _)| other.eq_ignore_ascii_case(name));
            assert_eq!(first, Some(index), "{name}");
        }

        assert_eq!(treatment("stricthostkeychecking"), Some(Honoured));
        assert_eq!(treatment("NoSuchOption"), None);
    }
}
