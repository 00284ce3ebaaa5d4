//! From the text of a settings file to its settings.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Settings,
    nearest::nearest,
    pattern::Pattern,
    rules::{HostSection, Section, SectionName},
    values::{AuditSettings, LocalSettings, Word},
};
use crate::foreign_text::ForeignText;

/// What is wrong with a settings file: its line, and the problem in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SettingsError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong there, in one line. Names the key, and quotes nothing else of the file.
    pub problem: String,
}

/// Keys of the sections that say something about hosts.
const HOST_KEYS: [&str; 5] = ["connect", "access", "run", "sudo", "forward"];
/// Limit of a quoted key, in bytes.
const MAX_KEY: usize = 60;

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// See [`Settings::parse`].
pub(super) fn parse(text: &str) -> Result<Settings, SettingsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let reader = Reader { text };

    let document = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(text.len(), |span| span.start);
        reader.error(start, format!("this is not TOML: {}", error.message()))
    })?;

    reader.document(document.get_ref())
}

/// Reads a parsed document. Keeps its text, for the numbers of lines.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn document(&self, document: &DeTable<'_>) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();

        for (key, value) in document {
            match key.get_ref().as_ref() {
                "default" => {
                    settings.default = self.section(key, value, &SectionName::Default)?;
                }
                "host" => settings.hosts = self.hosts(key, value)?,
                "local" => settings.local = self.local(key, value)?,
                "audit" => settings.audit = Some(self.audit(key, value)?),
                _ => {
                    return Err(self.unknown_key(
                        key,
                        "at the top of the file",
                        &["default", "host", "local", "audit"],
                    ));
                }
            }
        }

        Ok(settings)
    }

    /// Reads the sections of all hosts.
    fn hosts(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Vec<HostSection>, SettingsError> {
        const FORM: &str = "write `[host.NAME]` with the settings of one host below it";

        let mut hosts = Vec::new();
        for (pattern, value) in self.table(key, value, FORM)? {
            let name = SectionName::Host(pattern.get_ref().clone().into_owned());

            if !value.get_ref().is_table() {
                let problem = format!("{} is no section of a host; {FORM}", shown(pattern));
                return Err(self.at(pattern, problem));
            }

            let read = Pattern::parse(pattern.get_ref())
                .map_err(|problem| self.at(pattern, format!("{name} means no host: {problem}")))?;

            hosts.push(HostSection {
                name: pattern.get_ref().clone().into_owned(),
                pattern: read,
                section: self.section(pattern, value, &name)?,
            });
        }

        Ok(hosts)
    }

    /// Reads one section that says something about hosts.
    fn section(
        &self,
        key: &Key<'_>,
        value: &Value<'_>,
        name: &SectionName,
    ) -> Result<Section, SettingsError> {
        let mut section = Section::default();

        for (key, value) in self.table(key, value, "it must be a section")? {
            match key.get_ref().as_ref() {
                "connect" => section.connect = Some(self.word(key, value, name)?),
                "access" => section.access = Some(self.word(key, value, name)?),
                "run" => section.run = Some(self.word(key, value, name)?),
                "sudo" => section.sudo = Some(self.word(key, value, name)?),
                "forward" => section.forward = Some(self.word(key, value, name)?),
                _ if value.get_ref().is_table() => {
                    let problem = format!(
                        "{name} has a section {} in it; put the whole name of a host into quotes, as in \
                         [host.\"web.example.com\"]",
                        shown(key)
                    );
                    return Err(self.at(key, problem));
                }
                _ => return Err(self.unknown_key(key, &format!("in {name}"), &HOST_KEYS)),
            }
        }

        Ok(section)
    }

    fn local(&self, key: &Key<'_>, value: &Value<'_>) -> Result<LocalSettings, SettingsError> {
        const FORM: &str = "it must be a list of folders, each absolute or below `~/`";
        let mut local = LocalSettings::default();

        for (key, value) in self.table(key, value, "it must be a section")? {
            if key.get_ref() != "roots" {
                return Err(self.unknown_key(key, "in [local]", &["roots"]));
            }

            let roots = value.get_ref().as_array().into_iter().flatten();
            let paths: Option<Vec<String>> = roots.map(|root| path(root.get_ref())).collect();
            local.roots = paths
                .filter(|paths| !paths.is_empty())
                .ok_or_else(|| self.wrong_value(key, "[local]", FORM))?;
        }

        Ok(local)
    }

    fn audit(&self, key: &Key<'_>, value: &Value<'_>) -> Result<AuditSettings, SettingsError> {
        const KEYS: [&str; 4] = ["file", "required", "head", "max_mib"];
        let mut audit = AuditSettings::default();

        for (key, value) in self.table(key, value, "it must be a section")? {
            let wrong = |form| self.wrong_value(key, "[audit]", form);
            let value_of_key = value.get_ref();

            match key.get_ref().as_ref() {
                "file" => {
                    let file = path(value_of_key);
                    audit.file = Some(
                        file.ok_or_else(|| wrong("it must be a path, absolute or below `~/`"))?,
                    );
                }
                "required" => {
                    let required = value_of_key.as_bool();
                    audit.required = required.ok_or_else(|| wrong("it must be true or false"))?;
                }
                "head" => audit.head = self.word(key, value, "[audit]")?,
                "max_mib" => {
                    let size = mebibytes(value_of_key);
                    audit.max_mib =
                        size.ok_or_else(|| wrong("it must be a number from 1 to 1048576"))?;
                }
                _ => return Err(self.unknown_key(key, "in [audit]", &KEYS)),
            }
        }

        Ok(audit)
    }

    fn table<'a, 'v>(
        &self,
        key: &Key<'_>,
        value: &'v Value<'a>,
        form: &str,
    ) -> Result<&'v DeTable<'a>, SettingsError> {
        let table = value.get_ref().as_table();
        table.ok_or_else(|| self.at(key, format!("{} is no section; {form}", shown(key))))
    }

    /// Reads a value that is one of several words.
    fn word<T: Word>(
        &self,
        key: &Key<'_>,
        value: &Value<'_>,
        section: impl std::fmt::Display,
    ) -> Result<T, SettingsError> {
        let found = T::ALL
            .iter()
            .find(|allowed| value.get_ref().as_str() == Some(allowed.word()));

        found.copied().ok_or_else(|| {
            let words: Vec<_> = T::ALL.iter().map(|allowed| allowed.word()).collect();
            let form = format!("it must be one of \"{}\"", words.join("\", \""));
            self.wrong_value(key, section, &form)
        })
    }

    fn wrong_value(
        &self,
        key: &Key<'_>,
        section: impl std::fmt::Display,
        form: &str,
    ) -> SettingsError {
        let problem = format!(
            "the value of {} in {section} is not understood; {form}",
            shown(key)
        );
        self.at(key, problem)
    }

    fn unknown_key(&self, key: &Key<'_>, place: &str, known: &[&str]) -> SettingsError {
        let advice = match nearest(key.get_ref(), known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are `{}`", known.join("`, `")),
        };

        self.at(
            key,
            format!("the key {} {place} is unknown; {advice}", shown(key)),
        )
    }

    fn at(&self, key: &Key<'_>, problem: String) -> SettingsError {
        self.error(key.span().start, problem)
    }

    /// Makes an error at a place of the text, in bytes.
    fn error(&self, place: usize, problem: String) -> SettingsError {
        let before = self.text.bytes().take(place);
        SettingsError {
            line: before.filter(|byte| *byte == b'\n').count() + 1,
            problem,
        }
    }
}

/// Returns a key of the file for an error.
fn shown(key: &Key<'_>) -> String {
    format!(
        "`{}`",
        ForeignText::from(key.get_ref().as_ref()).cut(MAX_KEY)
    )
}

/// Returns a path that does not depend on the working directory.
fn path(value: &DeValue<'_>) -> Option<String> {
    let path = value.as_str()?;
    let is_fixed =
        path == "~" || path.starts_with("~/") || std::path::Path::new(path).is_absolute();
    (is_fixed && !path.contains('\0')).then(|| path.to_owned())
}

/// Returns a size in MiB.
fn mebibytes(value: &DeValue<'_>) -> Option<u64> {
    const MAX_MIB: u64 = 1 << 20;

    let number = value.as_integer()?;
    let size = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
    (1..=MAX_MIB).contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::{super::AuditHead, *};

    #[test]
    fn a_whole_file_is_read() {
        let settings = Settings::parse(
            "\u{feff}[default]\r\n\
             connect = 'ask'\r\n\
             # a comment\r\n\
             [host.\"prod-*\"]\r\n\
             access = \"read\"\r\n\
             [host.staging]\r\n\
             run = 'ask'\r\n\
             sudo = 'never'\r\n\
             forward = 'allow'\r\n\
             [local]\r\n\
             roots = ['~/work', '/srv']\r\n\
             [audit]\r\n\
             file = '~/audit.jsonl'\r\n\
             required = true\r\n\
             head = 'journald'\r\n\
             max_mib = 1_000\r\n",
        )
        .unwrap();

        assert_eq!(settings.hosts.len(), 2);
        assert_eq!(settings.local().roots, ["~/work", "/srv"]);
        assert_eq!(
            settings.audit(),
            Some(&AuditSettings {
                file: Some("~/audit.jsonl".to_owned()),
                required: true,
                head: AuditHead::Journald,
                max_mib: 1000,
            })
        );

        // The section alone turns the record on.
        let audit = Settings::parse("[audit]").unwrap();
        assert_eq!(audit.audit(), Some(&AuditSettings::default()));
        assert_eq!(Settings::parse("[host]").unwrap(), Settings::default());
    }

    #[test]
    fn each_mistake_is_one_line_that_names_it() {
        for (text, line, words) in [
            // Keys.
            (
                "[host.a]\nacess = 'read'",
                2,
                "`acess` in [host.a] is unknown; did you mean `access`?",
            ),
            (
                "[host.a]\ncolour = 'red'",
                2,
                "known are `connect`, `access`, `run`, `sudo`, `forward`",
            ),
            (
                "[defaults]",
                1,
                "`defaults` at the top of the file is unknown; did you mean `default`?",
            ),
            ("\n\n[hosts.a]", 3, "did you mean `host`?"),
            (
                "connect = 'ask'",
                1,
                "known are `default`, `host`, `local`, `audit`",
            ),
            ("[local]\nroot = ['/a']", 2, "did you mean `roots`?"),
            ("[audit]\nFile = '/a'", 2, "did you mean `file`?"),
            ("[host.a]\nAccess = 'read'", 2, "did you mean `access`?"),
            // Sections.
            ("default = 3", 1, "`default` is no section"),
            ("host = 'a'", 1, "write `[host.NAME]`"),
            (
                "[host]\naccess = 'read'",
                2,
                "`access` is no section of a host",
            ),
            ("[[host]]\naccess = 'read'", 1, "`host` is no section"),
            (
                "[host.web.example.com]\naccess = 'read'",
                1,
                "[host.\"web.example.com\"]",
            ),
            ("[host.'a b']", 1, "[host.\"a b\"] means no host: "),
            ("[host.'root@a']", 1, "without a user"),
            ("[host.'']", 1, "a host has a name"),
            // Values.
            (
                "[host.a]\nrun = 'alow'",
                2,
                "`run` in [host.a] is not understood; it must be one of \"allow\", \"ask\", \"never\"",
            ),
            (
                "[host.a]\naccess = 'ask'",
                2,
                "one of \"full\", \"read\", \"never\"",
            ),
            ("[default]\nconnect = true", 2, "`connect` in [default]"),
            ("[default]\nconnect = 'Allow'", 2, "`connect` in [default]"),
            ("[default]\nrun = ['ask']", 2, "`run` in [default]"),
            ("[local]\nroots = '/a'", 2, "list of folders"),
            ("[local]\nroots = []", 2, "list of folders"),
            ("[local]\nroots = ['/a', 3]", 2, "list of folders"),
            ("[local]\nroots = ['work']", 2, "list of folders"),
            ("[local]\nroots = ['~other/work']", 2, "list of folders"),
            ("[audit]\nfile = 'audit.jsonl'", 2, "it must be a path"),
            ("[audit]\nrequired = 'yes'", 2, "true or false"),
            (
                "[audit]\nhead = 'mail'",
                2,
                "\"none\", \"journald\", \"syslog\"",
            ),
            ("[audit]\nmax_mib = 0", 2, "number from 1"),
            ("[audit]\nmax_mib = 1.5", 2, "number from 1"),
            (
                "[audit]\nmax_mib = 99999999999999999999",
                2,
                "number from 1",
            ),
            // TOML.
            ("[host.a\naccess = 'read'", 1, "this is not TOML"),
            ("[host.a]\naccess = read", 2, "this is not TOML"),
            (
                "[host.a]\naccess = 'read'\naccess = 'full'",
                3,
                "this is not TOML",
            ),
            ("[host.a]\n[host.a]", 2, "this is not TOML"),
            ("[host.a]\naccess = 'read", 2, "this is not TOML"),
            ("access: read", 1, "this is not TOML"),
            ("# a\0", 1, "this is not TOML"),
            ("[default]\n\0", 2, "this is not TOML"),
            ("{}", 1, "this is not TOML"),
        ] {
            let error = Settings::parse(text).expect_err(text);
            let shown = error.to_string();
            assert!(shown.contains(words), "{text:?}: {shown}");
            assert_eq!(error.line, line, "{text:?}: {shown}");
            assert!(!shown.contains('\n'), "{text:?}: {shown}");
        }
    }

    #[test]
    fn an_error_quotes_nothing_but_the_key() {
        for text in [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0",
            "secret",
            "[default]\nconnect = 'secret'",
            "[local]\nroots = ['secret']",
            "[host.a]\nrun = secret",
            "[audit]\nmax_mib = 'secret'",
        ] {
            let shown = Settings::parse(text).expect_err(text).to_string();
            assert!(
                !shown.contains("secret") && !shown.contains("c2VjcmV0"),
                "{shown}"
            );
        }

        let long = format!("{} = 1", "k".repeat(10_000));
        assert!(Settings::parse(&long).unwrap_err().to_string().len() < 200);

        let unsafe_key = Settings::parse("\"a\\u001b[31m\" = 1").unwrap_err();
        assert!(!unsafe_key.to_string().contains('\u{1b}'));
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("default = {}", "[".repeat(100_000));
        assert!(Settings::parse(&deep).is_err());
    }
}
