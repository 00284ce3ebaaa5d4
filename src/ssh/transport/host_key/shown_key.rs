//! Parses the host key shown by a server.

use russh::keys::{HashAlg, PublicKeyBase64 as _, PublicKeyOrCertificate};

use crate::{
    openssh::known_hosts::{HostCertificate, HostKey},
    ssh::error::HostKeyError,
};

/// Host key shown by a server, with the certificate if there is one. The certificate's signature
/// has been verified, but nothing else.
#[derive(Debug)]
pub(in crate::ssh) struct ShownKey {
    pub(super) key: HostKey,
    pub(super) certificate: Option<HostCertificate>,
}

impl ShownKey {
    /// Parses the key or certificate shown by the server.
    ///
    /// # Errors
    /// The key or certificate is malformed, of an unknown type, or has no valid signature.
    pub(in crate::ssh) fn parse(shown: &PublicKeyOrCertificate) -> Result<Self, HostKeyError> {
        let broken = || HostKeyError::Unusable("it is broken or of an unknown type".to_owned());
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => Ok(Self {
                key: HostKey::parse(&key.public_key_bytes()).ok_or_else(broken)?,
                certificate: None,
            }),
            PublicKeyOrCertificate::Certificate(certificate) => {
                // Only the signature is checked here, so any time within the validity will do.
                // Validity now is a separate question, which `HostCertificate::fault` answers.
                let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
                certificate
                    .validate_at(certificate.valid_after(), [&signer])
                    .map_err(|_| {
                        HostKeyError::Unusable("its certificate has no good signature".to_owned())
                    })?;

                let blob = certificate.to_bytes().map_err(|_| broken())?;
                let certificate = HostCertificate::parse(&blob).ok_or_else(broken)?;
                Ok(Self {
                    key: certificate.key.clone(),
                    certificate: Some(certificate),
                })
            }
        }
    }
}
