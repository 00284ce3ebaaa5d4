//! What a running call tells the audit log.

use std::sync::{Arc, Mutex};

use crate::{
    audit::record::{Allowed, HostRecord, PartRecord, without_password},
    lock::lock,
};

/// Handle by which a call, or a part of it, is described for the audit log.
///
/// Clones describe the same part. The default describes nothing and costs nothing: without an audit
/// log, every call has the default.
#[derive(Debug, Clone, Default)]
pub struct AuditCall {
    /// Parts of the call so far; `None` without an audit log. The first is the call as a whole.
    parts: Option<Arc<Mutex<Vec<PartRecord>>>>,
    /// Index of the part that this handle describes.
    part: usize,
}

impl AuditCall {
    /// Returns the handle of a call that is recorded.
    pub(super) fn recorded() -> Self {
        Self {
            parts: Some(Arc::new(Mutex::new(vec![PartRecord::default()]))),
            part: 0,
        }
    }

    /// Returns the handle of the part of the call that the session of this name has.
    ///
    /// A call that acts in several sessions has a part for each, so that the log says which of them
    /// was allowed by whom.
    #[must_use]
    pub fn part(&self, session: &str) -> Self {
        let Some(parts) = &self.parts else {
            return Self::default();
        };

        // The usual name of a session is what was asked for.
        let session = Some(without_password(session));

        let mut entries = lock(parts);
        let known = entries.iter().position(|part| part.session == session);

        let part = known.unwrap_or_else(|| {
            entries.push(PartRecord {
                session,
                ..PartRecord::default()
            });
            entries.len() - 1
        });

        Self {
            parts: Some(Arc::clone(parts)),
            part,
        }
    }

    /// Says that the call is about this session, whether or not it gets as far as its host.
    pub fn session(&self, name: &str) {
        let _ = self.part(name);
    }

    /// Says that the part acts on this host. `asked` is the alias or address that was asked for,
    /// `host_name` where it leads. Saying it again changes nothing.
    pub fn host(&self, asked: &str, user: &str, host_name: &str, port: u16) {
        let host = HostRecord {
            asked: without_password(asked),
            host_name: host_name.to_owned(),
            user: user.to_owned(),
            port,
        };

        self.describe(|part| {
            if !part.hosts.contains(&host) {
                part.hosts.push(host);
            }
        });
    }

    /// Says who allowed an act of the part. Saying it again changes nothing.
    pub fn allowed(&self, how: Allowed) {
        self.describe(|part| {
            if !part.allowed.contains(&how) {
                part.allowed.push(how);
            }
        });
    }

    /// Returns what was said of the parts. What was said of the call as a whole belongs to its part
    /// if it has only one.
    pub(super) fn parts(&self) -> Vec<PartRecord> {
        let Some(parts) = &self.parts else {
            return Vec::new();
        };

        let mut parts = lock(parts).clone().into_iter();
        let whole = parts.next().unwrap_or_default();
        let mut parts: Vec<PartRecord> = parts.collect();

        if whole == PartRecord::default() {
            return parts;
        }

        if let [only] = parts.as_mut_slice() {
            for host in whole.hosts {
                if !only.hosts.contains(&host) {
                    only.hosts.push(host);
                }
            }
            for how in whole.allowed {
                if !only.allowed.contains(&how) {
                    only.allowed.push(how);
                }
            }
        } else {
            parts.insert(0, whole);
        }

        parts
    }

    /// Changes the record of the part, if there is an audit log.
    fn describe(&self, change: impl FnOnce(&mut PartRecord)) {
        let Some(parts) = &self.parts else { return };

        if let Some(part) = lock(parts).get_mut(self.part) {
            change(part);
        }
    }
}
