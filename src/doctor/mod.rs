//! `mcp-ssh-sessions doctor HOST`: why a host does or does not connect. [`ssh::diagnose`](crate::ssh::diagnose) finds the
//! facts; here they are put into words for a person, or into JSON for a program.

mod advice;
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
        error::SshError,
        trace::{Finding, StageOutcome},
    },
};

/// The host to be explained.
#[derive(Debug)]
pub struct DoctorTarget {
    typed: String,
    target: Target,
    key_path: Option<String>,
    notices: Vec<String>,
}

/// What was found out about it.
#[derive(Debug)]
pub struct DoctorReport {
    patient: DoctorTarget,
    trace: Vec<Finding>,
    failure: Option<SshError>,
}

impl DoctorTarget {
    /// What `typed` stands for: a saved session of that name with its options, else a destination. The store is read and
    /// not touched.
    ///
    /// # Errors
    /// It is no destination that may be given to `ssh`.
    pub fn find(
        typed: &str,
        config_file: Option<PathBuf>,
        store: Option<PathBuf>,
    ) -> Result<Self, DestinationError> {
        let (saved, mut notices) = match Store::new(store).peek() {
            Ok(document) => (
                document
                    .sessions
                    .into_iter()
                    .find(|saved| saved.name.as_str() == typed),
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
            } = TypedDestination::parse(typed)?;

            let target = Target {
                destination,
                user,
                port,
                config_file,
            };

            return Ok(Self {
                typed: typed.to_owned(),
                target,
                key_path,
                notices,
            });
        };

        notices.push(format!("{typed} is a saved session of host {}", saved.host));

        notices.extend(
            saved
                .key_path
                .iter()
                .map(|path| format!("its only key is {path}")),
        );

        if saved.password_auth {
            notices.push("it logs in with a password, which is never saved".to_owned());
        }

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
            typed: typed.to_owned(),
            target,
            key_path: saved.key_path,
            notices,
        })
    }

    /// Connects as `ssh_connect` would, and changes nothing.
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
    /// Whether `ssh_connect` would connect it.
    #[must_use]
    pub fn connects(&self) -> bool {
        self.failure.is_none()
    }

    /// All of it in a sentence.
    fn verdict(&self) -> String {
        let host = &self.patient.typed;

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

    /// What to do about it, if there is anything.
    fn next(&self) -> Option<String> {
        self.failure
            .as_ref()
            .map(|error| advice::advice_for(error, &self.patient.target))
    }
}
