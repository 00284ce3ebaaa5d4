//! Decrypts private keys in OpenSSL's format before PKCS#8, with the headers `Proc-Type:
//! 4,ENCRYPTED` and `DEK-Info` (RFC 1421). `ssh-keygen -m PEM` writes this format.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use russh::keys::ssh_key::Cipher;
use zeroize::Zeroizing;

/// Returns true if the text is a key in this format.
pub(super) fn is_legacy(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("DEK-Info:"))
}

/// Decrypts the key, and returns the key as PEM without encryption. Returns `None` if the
/// passphrase is wrong, or the cipher is neither AES nor triple DES.
pub(super) fn decrypt(text: &str, passphrase: &str) -> Option<Zeroizing<String>> {
    let kind = text
        .lines()
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))?;

    let (name, iv) = text
        .lines()
        .find_map(|line| line.strip_prefix("DEK-Info:"))?
        .trim()
        .split_once(',')?;

    let (cipher, key_length, block) = match name {
        "AES-128-CBC" => (Cipher::Aes128Cbc, 16, 16),
        "AES-192-CBC" => (Cipher::Aes192Cbc, 24, 16),
        "AES-256-CBC" => (Cipher::Aes256Cbc, 32, 16),
        "DES-EDE3-CBC" => (Cipher::TdesCbc, 24, 8),
        _ => return None,
    };

    let iv = bytes_of_hex(iv.trim())?;

    // Headers have a colon, which base64 has not.
    let body: Zeroizing<String> = Zeroizing::new(
        text.lines()
            .filter(|line| !line.contains(':') && !line.starts_with('-'))
            .map(str::trim)
            .collect(),
    );

    let mut der = Zeroizing::new(BASE64_STANDARD.decode(body.as_bytes()).ok()?);
    // The salt of the derivation is the beginning of the IV.
    let key = derive(passphrase, iv.get(..8)?);
    cipher
        .decrypt(key.get(..key_length)?, &iv, &mut der, None)
        .ok()?;

    // The padding is the only check of the passphrase in this format.
    let padding = usize::from(*der.last()?);
    let length = der.len().checked_sub(padding)?;
    let padded = (1..=block).contains(&padding)
        && der
            .get(length..)?
            .iter()
            .all(|byte| usize::from(*byte) == padding);

    // russh decodes text only, so the decrypted key is encoded again.
    let plain = Zeroizing::new(BASE64_STANDARD.encode(der.get(..length).filter(|_| padded)?));

    Some(Zeroizing::new(format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        *plain
    )))
}

/// Derives the key as `EVP_BytesToKey` of OpenSSL does, with MD5 and a single round, as this format
/// requires. Two digests give 32 bytes, enough for AES-256.
fn derive(passphrase: &str, salt: &[u8]) -> Zeroizing<Vec<u8>> {
    let digest = |before: &[u8]| {
        let mut context = md5::Context::new();
        for part in [before, passphrase.as_bytes(), salt] {
            context.consume(part);
        }

        context.finalize().0
    };

    let first = digest(&[]);
    Zeroizing::new([first, digest(&first)].concat())
}

/// Decodes hexadecimal digits; `None` if there is another character.
fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;

    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + digit)).ok())
        .collect()
}
