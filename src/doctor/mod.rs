//! The command `mcp-ssh-sessions doctor`. With a host, it explains why the host does or does not
//! connect. Without one, it checks this [`installation`].
//!
//! [`ssh::diagnose`](crate::ssh::diagnose) finds the facts. This module puts them into words for
//! users, or into JSON for programs.

pub mod installation;
mod json;
mod text;

use std::path::PathBuf;

pub use self::text::Colours;
use crate::{
    openssh::destination::{Destination, DestinationError, TypedDestination, parse_user},
    session::{live::CONNECT_LIMIT, store::Store},
    ssh::{
        auth::Credentials,
        config::target::Target,
        diagnose::{Diagnosis, diagnose},
        error::{Audience, SshError},
        trace::{Finding, StageOutcome},
    },
};

/// Host to diagnose: a saved session or a host destination, with options and notices.
#[derive(Debug)]
pub struct DoctorTarget {
    host: String,
    target: Target,
    key_path: Option<String>,
    notices: Vec<String>,
}

/// Report of a diagnosis: the findings at each stage, and the failure if any.
///
/// Created by [`DoctorTarget::diagnose`].
#[derive(Debug)]
pub struct DoctorReport {
    patient: DoctorTarget,
    trace: Vec<Finding>,
    failure: Option<SshError>,
}

impl DoctorTarget {
    /// Finds the saved session of this name, or else parses `host` as a destination.
    ///
    /// The store is only read. An unreadable store becomes a notice of the report.
    ///
    /// # Errors
    /// The destination or user must not be passed to `ssh`.
    pub fn find(
        host: &str,
        config_file: Option<PathBuf>,
        store: Option<PathBuf>,
    ) -> Result<Self, DestinationError> {
        // A host can be diagnosed without the store, so an unreadable one is only a notice.
        let (saved, mut notices) = match Store::new(store).peek() {
            Ok(document) => (
                document
                    .sessions
                    .into_iter()
                    .find(|saved| saved.name.as_str() == host),
                Vec::new(),
            ),
            Err(reason) => (None, vec![reason]),
        };

        let Some(saved) = saved else {
            let TypedDestination {
                destination,
                user,
                port,
                key_path,
            } = TypedDestination::parse(host)?;

            let target = Target {
                destination,
                user,
                port,
                config_file,
            };

            return Ok(Self {
                host: host.to_owned(),
                target,
                key_path,
                notices,
            });
        };

        // A session may have the name of another host, so the report says which host was meant.
        notices.push(format!("{host} is a saved session of host {}", saved.host));

        notices.extend(
            saved
                .key_path
                .iter()
                .map(|path| format!("its only key is {path}")),
        );

        // No password is at hand here, so the diagnosis cannot log in with one.
        if saved.password_auth {
            notices.push("it logs in with a password, which is never saved".to_owned());
        }

        // The store can be edited by hand, so its values are checked like typed ones.
        if let Some(user) = &saved.user {
            parse_user(user)?;
        }

        let destination = Destination::parse(&saved.host)?;

        let target = Target {
            destination,
            user: saved.user,
            port: saved.port,
            config_file,
        };

        Ok(Self {
            host: host.to_owned(),
            target,
            key_path: saved.key_path,
            notices,
        })
    }

    /// Returns what `ssh` would be asked to connect to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Connects as `ssh_connect` would, without changing anything, and reports each stage.
    pub async fn diagnose(self) -> DoctorReport {
        let credentials = Credentials {
            key_path: self.key_path.clone(),
            ..Credentials::default()
        };

        let Diagnosis { trace, failure } =
            diagnose(&self.target, &credentials, CONNECT_LIMIT).await;
        DoctorReport {
            patient: self,
            trace,
            failure,
        }
    }
}

impl DoctorReport {
    /// Returns true if `ssh_connect` would connect to the host.
    #[must_use]
    pub fn connects(&self) -> bool {
        self.failure.is_none()
    }

    /// Returns the result as a sentence.
    fn verdict(&self) -> String {
        let host = &self.patient.host;

        // A later stage can fail although the host connects, such as SFTP or `ssh_shell`.
        let missing: Vec<&str> = self
            .trace
            .iter()
            .filter(|finding| finding.outcome == StageOutcome::Failed)
            .map(|finding| text::name(finding.stage))
            .collect();

        match &self.failure {
            Some(_) => format!("{host} does not connect"),
            None if missing.is_empty() => format!("{host} connects"),
            None => format!(
                "{host} connects, but this does not work there: {}",
                missing.join(", ")
            ),
        }
    }

    /// Returns the next step for the user, or `None` if the host connects.
    fn next(&self) -> Option<String> {
        self.failure.as_ref().map(|error| {
            error.hint(Audience::Person {
                ssh: &self.patient.target.arguments(),
            })
        })
    }
}
